//! PSG404: a server that listens on the loopback address alone, while something asks the pod's.

use super::Subject;
use super::loopback::{asked_by, is_on_loopback, port};
use super::stream::{Seen, Service};
use crate::rule::{Level, Report, Rule};
use crate::text::clip;

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG404",
    name: "unreachable-server",
    default: Level::Warn,
    since: "0.2.0",
    summary: "a server that listens on 127.0.0.1 alone, with a probe, a port or a Service for it",
    page: include_str!("psg404_unreachable_server.md"),
    ..Rule::USUAL
};

const HELP: &str = "start it with `--host 0.0.0.0`, or set `PREFECT_SERVER_API_HOST` to `0.0.0.0`";

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    for server in subject.servers.iter().filter(|server| is_on_loopback(server)) {
        let Some((field, who)) = port(server).and_then(|port| asked_by(subject, server, port)) else {
            continue;
        };
        let what = format!("{who}, and the server listens on 127.0.0.1 alone");
        report.add(&RULE, subject.place_of(server.at, field), what, HELP).about(field);
    }
}

/// A Service that sends to such a server.
pub(super) fn check_across(seen: &[Seen], reports: &mut [Report]) {
    for (object, report) in seen.iter().zip(reports) {
        let beside = seen.iter().filter(|other| other.namespace == object.namespace);
        let services: Vec<&Service> = beside.filter_map(|other| other.service.as_ref()).collect();
        for member in &object.containers {
            let Some(port) = member.loopback_port else { continue };
            let sends = |one: &&&Service| one.ports.contains(&port) && one.sends_to(&object.labels);
            let Some(service) = services.iter().find(sends) else { continue };
            let name = clip(&service.name, 63).replace('`', "'");
            let what = format!(
                "Service `{name}` sends to its port {port}, and the server listens on 127.0.0.1 alone"
            );
            report.add(&RULE, member.place.clone(), what, HELP);
        }
    }
}
