//! PSG405: a probe that the server answers with 401, because its API asks for a password.

use super::Subject;
use crate::kubernetes::reach::Reach;
use crate::prefect::version::{Release, Version};
use crate::rule::{Level, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG405",
    name: "unauthorized-probe",
    default: Level::Warn,
    since: "0.2.0",
    summary: "a probe without a password, of an API that asks for one",
    page: include_str!("psg405_unauthorized_probe.md"),
    ..Rule::USUAL
};

/// The release that brought the password, and the one that brought the exception for health checks.
const ASKS: Release = Release(3, 1, 8);
const EXCEPTS: Release = Release(3, 1, 13);

/// Paths that answer without a password since then.
const OPEN: [&str; 2] = ["/api/health", "/api/ready"];
/// Paths that ask for one wherever there is one.
const CLOSED: [&str; 4] = ["/api/hello", "/api/version", "/api/admin/version", "/api/docs"];

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    for server in subject.servers.iter().filter(|server| server.database.endpoint.asks_for_login) {
        let version = Version::of_image(&server.container.image);
        let knows = version.is_none_or(|version| !version.is_older_than(ASKS));
        let too_old =
            version.is_some_and(|version| version.is_as_new_as(ASKS) && version.is_older_than(EXCEPTS));
        let reach = Reach::of(server.container);
        for (field, probe) in reach.probes().filter(|(_, probe)| !probe.is_authorised()) {
            let is = |paths: &[&str]| paths.contains(&probe.path.trim_end_matches('/'));
            let help = match () {
                () if is(&OPEN) && too_old => {
                    "use an image of Prefect 3.1.13 or later, or a `tcpSocket` probe"
                }
                () if is(&CLOSED) && knows => "ask for `/api/health`, which needs no password",
                () => continue,
            };
            let what = format!(
                "the {field} has no password, and with `PREFECT_SERVER_API_AUTH_STRING` this path answers 401"
            );
            report.add(&RULE, subject.place_of(server.at, field), what, help).about(field);
        }
    }
}
