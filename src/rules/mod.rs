//! The rules: one `.rs` and one `.md` each. The register below is the only list of them; help, docs, metrics and
//! the policy schema are made from it, and `tests/it/structure.rs` compares it with what is on disk.

mod problems;

use crate::rule::{Report, Rule};
pub use crate::subject::{Server, Subject};

/// One line of the register.
pub struct Entry {
    /// Identity and documentation.
    pub rule: &'static Rule,
    /// Looks at one workload and reports what it finds.
    pub check: fn(&Subject<'_>, &mut Report),
}

macro_rules! register {
    ($($module:ident),* $(,)?) => {
        $(pub mod $module;)*
        /// Every rule, in the order in which findings are reported.
        pub static REGISTER: &[Entry] = &[$(Entry { rule: &$module::RULE, check: $module::check }),*];
    };
}

register! {
    psg101_missing_database_url,
    psg102_unsupported_database,
    psg103_sync_driver,
    psg104_malformed_database_url,
    psg105_placeholder_database_url,
    psg106_unsupported_url_option,
    psg107_undefined_variable,
    psg108_optional_database_secret,
    psg109_ephemeral_sqlite,
    psg110_shared_sqlite,
    psg111_conflicting_database_settings,
    psg112_plaintext_database_password,
    psg113_implicit_database_name,
    psg114_invalid_database_setting,
    psg115_setting_unknown_to_version,
    psg116_service_link_collision,
    psg201_missing_migration,
    psg202_stale_migration,
    psg203_destructive_database_command,
    psg204_unreachable_database_proxy,
    psg205_racing_migrations,
    psg206_small_migration_memory,
    psg207_init_without_network,
    psg301_migration_image_drift,
    psg302_floating_image,
    psg303_migration_job_image_drift,
    psg901_unseen_database_url,
    psg902_undetected_server,
    psg903_unknown_annotation,
}

/// The rule with this id (`PSG103`) or name (`sync-driver`), in any case.
pub fn find(id_or_name: &str) -> Option<&'static Rule> {
    let wanted = id_or_name.trim();
    REGISTER
        .iter()
        .map(|entry| entry.rule)
        .find(|rule| rule.id.eq_ignore_ascii_case(wanted) || rule.name.eq_ignore_ascii_case(wanted))
}

/// The name of the rule that is written most like `word`, for "did you mean".
pub fn nearest(word: &str) -> &'static str {
    let distance = |entry: &&Entry| {
        let candidates = [entry.rule.name, entry.rule.id];
        candidates
            .into_iter()
            .map(|known| crate::text::distance(&word.to_lowercase(), &known.to_lowercase()))
            .min()
    };
    REGISTER.iter().min_by_key(distance).map_or("", |entry| entry.rule.name)
}
