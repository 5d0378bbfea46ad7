//! PSG109: SQLite whose data goes with the pod.

use super::{Subject, problems};
use crate::prefect::database::Target;
use crate::prefect::sqlite::{Backing, Place};
use crate::rule::{Level, OfSecret, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG109",
    name: "ephemeral-sqlite",
    default: Level::Deny,
    since: "0.1.0",
    secret: OfSecret::JudgesUrl,
    summary: "SQLite in memory, or in a file on no persistent volume",
    page: include_str!("psg109_ephemeral_sqlite.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    for server in problems::users(subject) {
        let Target::Sqlite { place, backing, chosen: true } = &server.database.target else { continue };
        let what = match (place, backing) {
            (Place::Memory, _) => "SQLite in memory: every restart begins with an empty database",
            (Place::NotVisible, Backing::None) => {
                "the SQLite file cannot be seen, and no volume keeps it: every restart begins with an empty database"
            }
            (Place::File(_), Backing::None) => {
                "the SQLite file is on no volume: every restart begins with an empty database"
            }
            (Place::File(_), Backing::Lost) => {
                "the SQLite file is on a volume that is not kept, or cannot be written to"
            }
            _ => continue,
        };
        let help = "mount a PersistentVolumeClaim and put the file on it, or use PostgreSQL";
        problems::report(report, &RULE, subject, (server, server.database.decided_by), what, help);
    }
}
