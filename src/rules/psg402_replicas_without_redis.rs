//! PSG402: several servers of one database that share nothing but the database.

use super::{Server, Subject};
use crate::kubernetes::Class;
use crate::prefect::database::Target;
use crate::prefect::settings::Field;
use crate::prefect::version::{Release, Version};
use crate::rule::{Level, Report, Rule, Scope};
use crate::server::start::Start;

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG402",
    name: "replicas-without-redis",
    default: Level::Warn,
    since: "0.2.0",
    scope: Scope::ObjectAndScale,
    summary: "several replicas, or API and background services apart, without Redis",
    page: include_str!("psg402_replicas_without_redis.md"),
    ..Rule::USUAL
};

/// The first release with `--no-services` and `prefect server services start`.
const SERVICES_APART: Release = Release(3, 1, 13);

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    if subject.workload.class != Class::Server {
        return;
    }
    let replicas = subject.workload.replicas.filter(|replicas| *replicas > 1);
    for server in &subject.servers {
        let several_workers = server.start().and_then(Start::workers).is_some_and(|number| number > 1);
        if several_workers || !is_on_postgres(server) {
            // Other rules speak of these.
            continue;
        }
        let who = match (replicas, part(server)) {
            (Some(replicas), _) => format!("{replicas} replicas run beside each other"),
            (None, Some(Part::Api)) => "the background services run apart from this API".to_owned(),
            (None, Some(Part::Services)) => "the API runs apart from these background services".to_owned(),
            (None, None) => continue,
        };
        let services_in_each = replicas.is_some() && part(server) != Some(Part::Api);
        let names = unshared(server, services_in_each);
        let version = Version::of_image(&server.container.image);
        let place = subject.place(server.at);
        if !names.is_empty() {
            let what = format!("{who}, and each keeps in its own memory what they should share");
            let help = format!("set {} as for Redis", names.join(", "));
            report.add(&RULE, place, what, help).about("memory");
        } else if services_in_each && version.is_some_and(repeats_services) {
            let what = format!("{who}, and each runs the background services");
            let help = "give the API `--no-services`, and run `prefect server services start` in one pod";
            report.add(&RULE, place, what, help).about("services");
        }
    }
}

/// A release that can run the services apart, and has no queue that several of them could share.
fn repeats_services(version: Version) -> bool {
    version.is_as_new_as(SERVICES_APART) && version.is_older_than(Field::DocketUrl.setting().names[0].since)
}

/// Whether the database may be PostgreSQL.
pub(super) fn is_on_postgres(server: &Server<'_>) -> bool {
    matches!(server.database.target, Target::Postgres(_) | Target::NotVisible)
}

/// The half of a server that runs by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// `prefect server start --no-services`.
    Api,
    /// `prefect server services start`.
    Services,
}

/// Which half of a server this is; `None` for a whole one.
pub(super) fn part(server: &Server<'_>) -> Option<Part> {
    use crate::shell::command::Action;
    let call = server.invocation.server()?;
    match call.action {
        Action::Services => Some(Part::Services),
        _ => server.start().filter(|start| start.is_without_services()).map(|_| Part::Api),
    }
}

/// The settings, in backticks, that leave in the memory of each what several servers should share. The queue of
/// background work matters only where the services run in more than one.
pub(super) fn unshared(server: &Server<'_>, services_in_each: bool) -> Vec<String> {
    let version = Version::of_image(&server.container.image);
    let fields = server.database.in_memory.iter();
    let fields = fields.filter(|field| services_in_each || **field != Field::DocketUrl);
    fields.map(|field| format!("`{}`", field.name_for(version))).collect()
}
