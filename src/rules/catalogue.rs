//! The register: the only list of rules there is, and the ways to run them.
//!
//! Help, documentation, metrics and the policy's schema are made from it, and `tests/it/structure.rs` compares it with
//! what is on disk.

use super::manifest::Manifest;
use super::stream::Seen;
use super::{
    psg101_missing_database_url, psg102_unsupported_database, psg103_sync_driver,
    psg104_malformed_database_url, psg105_placeholder_database_url, psg106_unsupported_url_option,
    psg107_undefined_variable, psg108_optional_database_secret, psg109_ephemeral_sqlite,
    psg110_shared_sqlite, psg111_conflicting_database_settings, psg112_plaintext_database_password,
    psg113_implicit_database_name, psg114_invalid_database_setting, psg115_setting_unknown_to_version,
    psg116_service_link_collision, psg117_misleading_setting, psg201_missing_migration,
    psg202_stale_migration, psg203_destructive_database_command, psg204_unreachable_database_proxy,
    psg205_racing_migrations, psg206_small_migration_memory, psg207_init_without_network,
    psg208_broken_migration, psg301_migration_image_drift, psg302_floating_image,
    psg303_migration_job_image_drift, psg304_servers_of_different_images, psg401_workers_without_redis,
    psg402_replicas_without_redis, psg403_servers_across_objects, psg404_unreachable_server,
    psg405_unauthorized_probe, psg901_unseen_database_url, psg902_undetected_server,
    psg903_unknown_annotation,
};
use crate::rule::{Catalogue, Finding, Report, Rule};
use crate::subject::Subject;

/// One line of the register.
pub struct Entry {
    /// Identity and documentation.
    pub rule: &'static Rule,
    /// How it looks.
    pub check: Check,
    /// What it finds besides in an object as its author wrote it, outside of the pod template: `check` only, since
    /// the API server drops or refuses what is wrong there.
    pub manifest: Option<fn(&Manifest<'_>, &mut Report)>,
    /// What a rule about one workload finds besides where other objects are known: `check` and `audit`.
    pub across: Option<Across>,
}

/// Looks at what is known of each object of a stream: reports into the report of the object at fault.
pub type Across = fn(&[Seen], &mut [Report]);

/// How a rule looks at what it judges; [`Rule::scope`] says the same as data.
#[derive(Clone, Copy)]
pub enum Check {
    /// At one workload: reports what it finds there.
    Object(fn(&Subject<'_>, &mut Report)),
    /// At all objects of a stream.
    Stream(Across),
}

const fn object(rule: &'static Rule, check: fn(&Subject<'_>, &mut Report)) -> Entry {
    Entry { rule, check: Check::Object(check), manifest: None, across: None }
}

const fn stream(rule: &'static Rule, check: Across) -> Entry {
    Entry { rule, check: Check::Stream(check), manifest: None, across: None }
}

/// Every rule, in the order in which findings are reported.
pub static REGISTER: &[Entry] = &[
    object(&psg101_missing_database_url::RULE, psg101_missing_database_url::check),
    object(&psg102_unsupported_database::RULE, psg102_unsupported_database::check),
    object(&psg103_sync_driver::RULE, psg103_sync_driver::check),
    object(&psg104_malformed_database_url::RULE, psg104_malformed_database_url::check),
    object(&psg105_placeholder_database_url::RULE, psg105_placeholder_database_url::check),
    object(&psg106_unsupported_url_option::RULE, psg106_unsupported_url_option::check),
    object(&psg107_undefined_variable::RULE, psg107_undefined_variable::check),
    object(&psg108_optional_database_secret::RULE, psg108_optional_database_secret::check),
    object(&psg109_ephemeral_sqlite::RULE, psg109_ephemeral_sqlite::check),
    object(&psg110_shared_sqlite::RULE, psg110_shared_sqlite::check),
    object(&psg111_conflicting_database_settings::RULE, psg111_conflicting_database_settings::check),
    object(&psg112_plaintext_database_password::RULE, psg112_plaintext_database_password::check),
    object(&psg113_implicit_database_name::RULE, psg113_implicit_database_name::check),
    object(&psg114_invalid_database_setting::RULE, psg114_invalid_database_setting::check),
    object(&psg115_setting_unknown_to_version::RULE, psg115_setting_unknown_to_version::check),
    stream(&psg116_service_link_collision::RULE, psg116_service_link_collision::check),
    object(&psg117_misleading_setting::RULE, psg117_misleading_setting::check),
    object(&psg201_missing_migration::RULE, psg201_missing_migration::check),
    object(&psg202_stale_migration::RULE, psg202_stale_migration::check),
    object(&psg203_destructive_database_command::RULE, psg203_destructive_database_command::check),
    object(&psg204_unreachable_database_proxy::RULE, psg204_unreachable_database_proxy::check),
    object(&psg205_racing_migrations::RULE, psg205_racing_migrations::check),
    object(&psg206_small_migration_memory::RULE, psg206_small_migration_memory::check),
    object(&psg207_init_without_network::RULE, psg207_init_without_network::check),
    object(&psg208_broken_migration::RULE, psg208_broken_migration::check),
    object(&psg301_migration_image_drift::RULE, psg301_migration_image_drift::check),
    object(&psg302_floating_image::RULE, psg302_floating_image::check),
    stream(&psg303_migration_job_image_drift::RULE, psg303_migration_job_image_drift::check),
    stream(&psg304_servers_of_different_images::RULE, psg304_servers_of_different_images::check),
    object(&psg401_workers_without_redis::RULE, psg401_workers_without_redis::check),
    object(&psg402_replicas_without_redis::RULE, psg402_replicas_without_redis::check),
    stream(&psg403_servers_across_objects::RULE, psg403_servers_across_objects::check),
    Entry {
        across: Some(psg404_unreachable_server::check_across),
        ..object(&psg404_unreachable_server::RULE, psg404_unreachable_server::check)
    },
    object(&psg405_unauthorized_probe::RULE, psg405_unauthorized_probe::check),
    object(&psg901_unseen_database_url::RULE, psg901_unseen_database_url::check),
    object(&psg902_undetected_server::RULE, psg902_undetected_server::check),
    Entry {
        manifest: Some(psg903_unknown_annotation::check_manifest),
        ..object(&psg903_unknown_annotation::RULE, psg903_unknown_annotation::check)
    },
];

/// The same rules as data, for whoever resolves a name.
pub static CATALOGUE: Catalogue = Catalogue(&RULES);

static RULES: [&Rule; REGISTER.len()] = {
    let mut rules = [REGISTER[0].rule; REGISTER.len()];
    let mut index = 0;
    while index < rules.len() {
        rules[index] = REGISTER[index].rule;
        index += 1;
    }
    rules
};

/// What the rules that `wanted` picks find in one workload, in the order of the register.
pub fn check(subject: &Subject<'_>, wanted: impl Fn(&Rule) -> bool) -> Vec<Finding> {
    let mut report = Report::default();
    for entry in REGISTER.iter().filter(|entry| wanted(entry.rule)) {
        if let Check::Object(check) = entry.check {
            check(subject, &mut report);
        }
    }
    report.into_findings()
}

/// What the rules find in a manifest outside of its pod template.
pub fn check_manifest(manifest: &Manifest<'_>) -> Vec<Finding> {
    let mut report = Report::default();
    for check in REGISTER.iter().filter_map(|entry| entry.manifest) {
        check(manifest, &mut report);
    }
    report.into_findings()
}

/// What the rules over several objects find: the index into `seen`, and what was found there.
pub fn check_stream(seen: &[Seen]) -> Vec<(usize, Finding)> {
    let mut findings = Vec::new();
    for entry in REGISTER {
        let own = match entry.check {
            Check::Stream(check) => Some(check),
            Check::Object(_) => entry.across,
        };
        if let Some(check) = own {
            let mut reports: Vec<Report> = seen.iter().map(|_| Report::default()).collect();
            check(seen, &mut reports);
            let found = reports.into_iter().enumerate();
            findings
                .extend(found.flat_map(|(at, one)| one.into_findings().into_iter().map(move |f| (at, f))));
        }
    }
    findings
}

/// The rule with this id (`PSG103`) or name (`sync-driver`), in any case.
pub fn find(id_or_name: &str) -> Option<&'static Rule> {
    CATALOGUE.find(id_or_name)
}

/// The name of the rule that is written most like `word`, for "did you mean".
pub fn nearest(word: &str) -> &'static str {
    CATALOGUE.nearest(word)
}
