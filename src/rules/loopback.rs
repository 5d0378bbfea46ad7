//! Servers that listen on the loopback address, and who asks them: for PSG404 and for the facts of a stream.

use super::{Server, Subject};
use crate::kubernetes::image::ImageRef;
use crate::kubernetes::reach::Reach;
use crate::prefect::endpoint::Given;
use crate::prefect::values::integer;
use crate::server::start::OptionValue;

/// Where Prefect listens by default.
const USUAL_PORT: i64 = 4200;

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
pub(super) fn asked_by(
    subject: &Subject<'_>,
    server: &Server<'_>,
    port: i64,
) -> Option<(&'static str, String)> {
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
pub(super) fn is_on_loopback(server: &Server<'_>) -> bool {
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
pub(super) fn port(server: &Server<'_>) -> Option<i64> {
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
