//! PSG404: a server that listens on the loopback address alone, while something asks the pod's.

use super::stream::{Seen, Service};
use super::{Server, Subject};
use crate::kubernetes::image::ImageRef;
use crate::kubernetes::reach::Reach;
use crate::prefect::endpoint::Given;
use crate::prefect::values::integer;
use crate::rule::{Level, Report, Rule};
use crate::server::start::OptionValue;
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

/// Where Prefect listens if nothing says otherwise.
const USUAL_PORT: i64 = 4200;

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

/// The port of a server on the loopback address that nothing in its own workload asks for. Another container of the pod
/// may pass on what a Service sends.
pub(super) fn unasked_port(subject: &Subject<'_>, server: &Server<'_>) -> Option<i64> {
    let port = port(server).filter(|_| is_on_loopback(server) && is_alone(subject))?;
    asked_by(subject, server, port).is_none().then_some(port)
}

fn is_alone(subject: &Subject<'_>) -> bool {
    let spec = &subject.workload.template.spec;
    spec.containers.len() == 1 && !spec.init_containers().iter().any(|one| one.is_native_sidecar())
}

/// The field of the container that shows that others come to the port, and how.
fn asked_by(subject: &Subject<'_>, server: &Server<'_>, port: i64) -> Option<(&'static str, String)> {
    let reach = Reach::of(server.container);
    let mut probes = reach.probes();
    let probe = probes.find(|(_, asks)| !is_loopback(&asks.host) && reach.port(asks) == Some(port));
    if let Some((field, _)) = probe {
        return Some((field, format!("its {field} asks the address of the pod")));
    }
    // Another container may pass on what comes to the port.
    let declared = reach.ports.iter().any(|one| one.container_port == port) && is_alone(subject);
    declared.then(|| ("ports", format!("port {port} is declared for others")))
}

/// Whether the manifest shows that the server listens on the loopback address. What nothing sets is Prefect's own
/// default in Prefect's own image; another image may set it.
fn is_on_loopback(server: &Server<'_>) -> bool {
    let Some(start) = server.start() else { return false };
    match (start.option("--host"), &server.database.endpoint.host) {
        (OptionValue::Value(host), _) => is_loopback(&host),
        (OptionValue::Absent, Given::Is(host)) => is_loopback(host),
        (OptionValue::Absent, Given::Nowhere) => {
            ImageRef::parse(&server.container.image).is_some_and(|image| image.is_official_prefect())
        }
        _ => false,
    }
}

/// The port the server listens on, where it is visible.
fn port(server: &Server<'_>) -> Option<i64> {
    match (server.start()?.option("--port"), &server.database.endpoint.port) {
        (OptionValue::Value(port), _) => integer(&port),
        (OptionValue::Absent, Given::Is(port)) => Some(*port),
        (OptionValue::Absent, Given::Nowhere) => Some(USUAL_PORT),
        _ => None,
    }
}

fn is_loopback(host: &str) -> bool {
    host.starts_with("127.") || host == "::1" || host.eq_ignore_ascii_case("localhost")
}
