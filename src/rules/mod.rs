//! The rules: one `.rs` and one `.md` each, and [`REGISTER`], the list of them.

mod catalogue;
mod loopback;
mod manifest;
mod problems;
pub mod psg101_missing_database_url;
pub mod psg102_unsupported_database;
pub mod psg103_sync_driver;
pub mod psg104_malformed_database_url;
pub mod psg105_placeholder_database_url;
pub mod psg106_unsupported_url_option;
pub mod psg107_undefined_variable;
pub mod psg108_optional_database_secret;
pub mod psg109_ephemeral_sqlite;
pub mod psg110_shared_sqlite;
pub mod psg111_conflicting_database_settings;
pub mod psg112_plaintext_database_password;
pub mod psg113_implicit_database_name;
pub mod psg114_invalid_database_setting;
pub mod psg115_setting_unknown_to_version;
pub mod psg116_service_link_collision;
pub mod psg117_misleading_setting;
pub mod psg201_missing_migration;
pub mod psg202_stale_migration;
pub mod psg203_destructive_database_command;
pub mod psg204_unreachable_database_proxy;
pub mod psg205_racing_migrations;
pub mod psg206_small_migration_memory;
pub mod psg207_init_without_network;
pub mod psg208_broken_migration;
pub mod psg301_migration_image_drift;
pub mod psg302_floating_image;
pub mod psg303_migration_job_image_drift;
pub mod psg304_servers_of_different_images;
pub mod psg401_workers_without_redis;
pub mod psg402_replicas_without_redis;
pub mod psg403_servers_across_objects;
pub mod psg404_unreachable_server;
pub mod psg405_unauthorized_probe;
pub mod psg901_unseen_database_url;
pub mod psg902_undetected_server;
pub mod psg903_unknown_annotation;
pub mod stream;

pub use crate::server::Server;
pub use crate::subject::Subject;
pub use catalogue::{
    Across, CATALOGUE, Check, Entry, REGISTER, check, check_manifest, check_stream, find, nearest,
};
pub use manifest::Manifest;
