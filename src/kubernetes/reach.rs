//! How a container is reached from outside: by the ports it declares, the kubelet's probes, and Services.
//!
//! Read from the container's text only when somebody asks: few rules do.

use super::pod::{Annotations, Container, Text};
use crate::json::{Raw, null_is_default, object, object_or_none, objects, parse};

/// The ports and probes of a container.
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reach<'a> {
    /// The ports it declares.
    #[serde(borrow, default, deserialize_with = "objects")]
    pub ports: Vec<Port<'a>>,
    #[serde(borrow, default, deserialize_with = "object")]
    startup_probe: Probe<'a>,
    #[serde(borrow, default, deserialize_with = "object")]
    readiness_probe: Probe<'a>,
    #[serde(borrow, default, deserialize_with = "object")]
    liveness_probe: Probe<'a>,
}

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

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe<'a> {
    #[serde(borrow, default, deserialize_with = "object_or_none")]
    http_get: Option<Request<'a>>,
    #[serde(borrow, default, deserialize_with = "object_or_none")]
    tcp_socket: Option<Request<'a>>,
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
    /// How `container` is reached; in no way, where its fields are not shaped as they should be. So an empty answer does not
    /// show that something is missing.
    pub fn of(container: &Container<'a>) -> Self {
        parse(container.text().get()).unwrap_or_default()
    }

    /// What the kubelet sends by HTTP or TCP, with the field it is in. Probes that run a command or speak gRPC are not among
    /// them.
    pub fn probes(&self) -> impl Iterator<Item = (&'static str, &Request<'a>)> {
        let probes = [
            ("startupProbe", &self.startup_probe),
            ("readinessProbe", &self.readiness_probe),
            ("livenessProbe", &self.liveness_probe),
        ];
        probes.into_iter().filter_map(|(field, probe)| {
            Some((field, probe.http_get.as_ref().or(probe.tcp_socket.as_ref())?))
        })
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
