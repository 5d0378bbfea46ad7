//! How a container is reached from outside: by the ports it declares, the kubelet's probes, and Services.
//!
//! Read from the text of those fields only when somebody asks: few rules do.

use super::pod::{Annotations, Container, Probe, Text};
use crate::json::{Raw, null_is_default, object, objects, odd_is_default, parse};

/// The ports and probes of a container.
pub struct Reach<'a> {
    /// The ports it declares.
    pub ports: Vec<Port<'a>>,
    probes: [(&'static str, Option<Request<'a>>); 3],
}

#[derive(Default, serde::Deserialize)]
#[serde(transparent)]
struct Ports<'a>(#[serde(borrow, deserialize_with = "objects")] Vec<Port<'a>>);

/// One entry of `ports`.
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Port<'a> {
    /// Its name, for probes and Services.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub name: Text<'a>,
    /// Its number.
    #[serde(default, deserialize_with = "null_is_default")]
    pub container_port: i64,
}

/// What a probe asks, and where.
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// Another host than the pod.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub host: Text<'a>,
    #[serde(borrow)]
    port: Option<Raw<'a>>,
    /// The path of an HTTP request.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub path: Text<'a>,
    #[serde(borrow, default, deserialize_with = "objects")]
    http_headers: Vec<Header<'a>>,
}

#[derive(Default, serde::Deserialize)]
struct Header<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    name: Text<'a>,
}

impl<'a> Reach<'a> {
    /// How `container` is reached, as far as its fields are shaped as they should be. So an empty answer does not show
    /// that something is missing.
    pub fn of(container: &Container<'a>) -> Self {
        let asks = |probe: &Option<Box<Probe<'a>>>| {
            let probe = probe.as_deref()?;
            let request = probe.http_get.or(probe.tcp_socket)?;
            parse(request.get()).ok()
        };
        Reach {
            ports: odd_is_default::<Ports<'_>>(container.ports).0,
            probes: [
                ("startupProbe", asks(&container.startup_probe)),
                ("readinessProbe", asks(&container.readiness_probe)),
                ("livenessProbe", asks(&container.liveness_probe)),
            ],
        }
    }

    /// What the kubelet sends by HTTP or TCP, with the field it is in. Probes that run a command or speak gRPC are not among
    /// them.
    pub fn probes(&self) -> impl Iterator<Item = (&'static str, &Request<'a>)> {
        self.probes.iter().filter_map(|(field, request)| Some((*field, request.as_ref()?)))
    }

    /// The number of the port that a probe asks.
    pub fn port(&self, request: &Request<'_>) -> Option<i64> {
        let text = request.port?.get();
        match serde_json::from_str::<String>(text) {
            Ok(name) => self.ports.iter().find(|port| *port.name == *name).map(|port| port.container_port),
            Err(_) => text.parse().ok(),
        }
    }
}

/// What a Service sends to which pods.
#[derive(Default, serde::Deserialize)]
pub struct Service<'a> {
    #[serde(borrow, default, deserialize_with = "object")]
    spec: Sends<'a>,
}

#[derive(Default, serde::Deserialize)]
struct Sends<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    selector: Annotations<'a>,
    #[serde(borrow, default, deserialize_with = "objects")]
    ports: Vec<ServicePort<'a>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServicePort<'a> {
    #[serde(default, deserialize_with = "null_is_default")]
    port: i64,
    #[serde(borrow)]
    target_port: Option<Raw<'a>>,
}

impl<'a> Service<'a> {
    /// The Service in this text; one that sends nothing anywhere, where it is not shaped as it should be.
    pub fn of(text: &'a str) -> Self {
        parse(text).unwrap_or_default()
    }

    /// The labels of the pods it sends to; none at all where it picks none by labels.
    pub fn selector(&self) -> impl Iterator<Item = (&str, &str)> {
        self.spec.selector.iter()
    }

    /// The numbers of the pods' ports that it sends to. One that is given by a name is declared by a container.
    pub fn ports(&self) -> impl Iterator<Item = i64> {
        self.spec.ports.iter().filter_map(|one| match one.target_port.map(|target| target.get()) {
            None | Some("null") => Some(one.port),
            Some(text) => text.parse().ok(),
        })
    }
}

impl Request<'_> {
    /// Whether it says who asks.
    pub fn is_authorised(&self) -> bool {
        self.http_headers.iter().any(|header| header.name.eq_ignore_ascii_case("Authorization"))
    }
}
