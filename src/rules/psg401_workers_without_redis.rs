//! PSG401: several worker processes that share nothing, with which Prefect refuses to start.

use super::{Server, Subject, problems};
use crate::prefect::database::Target;
use crate::prefect::settings::Field;
use crate::prefect::version::{Release, Version};
use crate::rule::{Level, Report, Rule};
use crate::server::start::Start;

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG401",
    name: "workers-without-redis",
    default: Level::Deny,
    since: "0.2.0",
    summary: "`--workers` above 1 with SQLite or without Redis, or below 1: Prefect refuses to start",
    page: include_str!("psg401_workers_without_redis.md"),
    ..Rule::USUAL
};

/// The release whose check of `--workers` asks for lease storage too.
const ASKS_FOR_LEASES: Release = Release(3, 7, 0);

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    // Only Prefect's own command checks it.
    let counted = |server| Some((server, Server::start(server).and_then(Start::workers)?));
    for (server, workers) in problems::users(subject).filter_map(counted).filter(|(_, number)| *number != 1) {
        if workers < 1 {
            let what = "Prefect refuses to start with no worker process";
            let help = "take `--workers` out, or set it to `1`";
            report.add(&RULE, subject.place(server.at), what, help).about("none");
            continue;
        }
        let at = (server, server.database.decided_by);
        if matches!(server.database.target, Target::Sqlite { .. }) {
            let what = "Prefect refuses to start several worker processes on SQLite";
            let help = "take `--workers` out, or use PostgreSQL";
            problems::report(report, &RULE, subject, at, what, help).about("sqlite");
            continue;
        }
        let version = Version::of_image(&server.container.image);
        let asks = |field: &&Field| match field {
            Field::DocketUrl => false,
            Field::LeaseStorage => version.is_some_and(|version| version.is_as_new_as(ASKS_FOR_LEASES)),
            _ => true,
        };
        let names: Vec<String> = server
            .database
            .in_memory
            .iter()
            .filter(asks)
            .map(|field| format!("`{}`", field.name()))
            .collect();
        if !names.is_empty() {
            let what = "Prefect refuses to start several worker processes that share nothing";
            let help = format!("take `--workers` out, or set {} as for Redis", names.join(", "));
            let finding = report.add(&RULE, subject.place(server.at), what, help).about("memory");
            if version.is_none() {
                // Another image may hold the settings itself.
                finding.only_warn(None);
            }
        }
    }
}
