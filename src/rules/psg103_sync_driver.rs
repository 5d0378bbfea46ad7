//! PSG103.

use super::Subject;
use crate::finding::{Level, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG103",
    name: "sync-driver",
    default: Level::Deny,
    since: "0.1.0",
    fix: None,
    summary: "a synchronous or unknown driver in the database URL",
    page: include_str!("psg103_sync_driver.md"),
};

pub(super) fn check(_subject: &Subject<'_>, _report: &mut Report) {}
