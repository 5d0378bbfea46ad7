//! PSG404: a server that listens on the loopback address alone, while something asks the pod's.

use super::{Server, Subject};
use crate::kubernetes::image::ImageRef;
use crate::kubernetes::reach::Reach;
use crate::prefect::endpoint::Given;
use crate::prefect::values::integer;
use crate::rule::{Level, Report, Rule};
use crate::server::start::OptionValue;

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG404",
    name: "unreachable-server",
    default: Level::Warn,
    since: "0.2.0",
    summary: "a server that listens on 127.0.0.1 alone, with a probe or a port for it",
    page: include_str!("psg404_unreachable_server.md"),
    ..Rule::USUAL
};

/// Where Prefect listens if nothing says otherwise.
const USUAL_PORT: i64 = 4200;

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let spec = &subject.workload.template.spec;
    let alone =
        spec.containers.len() == 1 && !spec.init_containers().iter().any(|one| one.is_native_sidecar());
    for server in subject.servers.iter().filter(|server| is_on_loopback(server)) {
        let Some(port) = port(server) else { continue };
        let reach = Reach::of(server.container);
        let mut probes = reach.probes();
        let probe = probes.find(|(_, asks)| !is_loopback(&asks.host) && reach.port(asks) == Some(port));
        // Another container may pass on what comes to the port.
        let declared = reach.ports.iter().any(|one| one.container_port == port) && alone;
        let (field, who) = match probe {
            Some((field, _)) => (field, format!("its {field} asks the address of the pod")),
            None if declared => ("ports", format!("port {port} is declared for others")),
            None => continue,
        };
        let what = format!("{who}, and the server listens on 127.0.0.1 alone");
        let help = "start it with `--host 0.0.0.0`, or set `PREFECT_SERVER_API_HOST` to `0.0.0.0`";
        report.add(&RULE, subject.place_of(server.at, field), what, help).about(field);
    }
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
