//! PSG110: several pods on one SQLite file, or each on its own.

use super::{Subject, problems};
use crate::kubernetes::{Class, Rollout};
use crate::prefect::database::Target;
use crate::prefect::sqlite::{self, Backing, Place};
use crate::rule::{Level, Report, Rule, Scope};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG110",
    name: "shared-sqlite",
    default: Level::Deny,
    since: "0.1.0",
    scope: Scope::ObjectAndScale,
    summary: "SQLite with more than one replica, with an update that overlaps two pods, or on a file server",
    page: include_str!("psg110_shared_sqlite.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let workload = subject.workload;
    if workload.class != Class::Server {
        return;
    }
    for server in &subject.servers {
        let Target::Sqlite { place, backing, .. } = &server.database.target else { continue };
        let at = (server, server.database.decided_by);
        if let Place::File(path) = place
            && sqlite::is_on_a_file_server(path, server.container, workload)
        {
            let what = "SQLite on a file server: its write-ahead log, which Prefect switches on, does not work there";
            let help = "put the file on a volume of the node or of a block device, or use PostgreSQL";
            problems::report(report, &RULE, subject, at, what, help).only_warn(None);
        }
        match workload.replicas {
            Some(replicas) if replicas > 1 => {
                let what = format!(
                    "SQLite with {replicas} replicas: they share no database, or break the one they share"
                );
                let help = "set `replicas: 1`, or use PostgreSQL";
                // Another fault than the rolling update's, whatever the value.
                problems::report(report, &RULE, subject, at, what, help).about("replicas");
            }
            _ => {
                let kept = matches!(place, Place::File(_)) && *backing == Backing::Persistent;
                if kept && workload.rollout == Rollout::Overlapping {
                    let what = "a rolling update runs two pods on one SQLite file for a while";
                    let help = "set `strategy: {type: Recreate}`";
                    problems::report(report, &RULE, subject, at, what, help).only_warn(None);
                }
            }
        }
    }
}
