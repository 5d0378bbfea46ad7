//! The HTTPS server around the engine.
//!
//! ```text
//! accept (cap on connections, TLS, deadlines of a connection) → router (layers, /mutate, /validate) → answer
//! admin: /livez /readyz /metrics      reload: certificate, policy and client CA by content
//! ```
//!
//! [`Server::bind`] loads nothing itself: whoever calls has keys and policy in hand, so that a port is taken only by a
//! server that can serve. Admissions run on the calling thread's runtime; the admin port and everything slow has a
//! thread of its own, so that a flood of reviews never makes a probe wait.

mod accept;
pub mod admin;
pub mod admission;
pub mod body;
mod deadlines;
pub mod flags;
pub mod limits;
pub mod phase;
mod refusal;
pub mod reload;
pub mod run;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};

use crate::answer::Answer;
use crate::decision;
use crate::policy::Policy;
use crate::telemetry::log::Log;
use crate::telemetry::metrics::Metrics;

pub use admission::Admission;
pub use limits::Limits;
pub use phase::{Phase, Stage};

/// What the server calls for each review. A pair of functions, so that tests can put others in their place.
#[derive(Debug, Clone, Copy)]
pub struct Engine {
    /// Answers a body.
    pub answer: fn(decision::Endpoint, &[u8], &Policy) -> Answer,
    /// Reads a policy file; the error is for its author.
    pub policy: fn(&str) -> Result<Policy, String>,
}

impl Engine {
    /// The real one.
    pub fn real() -> Engine {
        Engine { answer: crate::answer::answer, policy: read_policy }
    }
}

fn read_policy(text: &str) -> Result<Policy, String> {
    Policy::from_yaml(text, crate::rules::CATALOGUE).map_err(|error| error.to_string())
}

/// Why a port could not be taken.
#[derive(Debug, Error)]
#[error("cannot listen on `{address}` (`{flag}`)")]
pub struct BindError {
    /// What was asked for.
    pub address: SocketAddr,
    /// The flag that asks for it.
    pub flag: &'static str,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

/// Takes a port. `[::]` means both families; where the machine has no IPv6 it means IPv4.
/// To be called within a runtime, which the listener belongs to.
pub fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, BindError> {
    match bind(address) {
        Ok(listener) => Ok(listener),
        // EAFNOSUPPORT and EADDRNOTAVAIL: no IPv6 in the kernel, or it is switched off.
        Err(error)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && matches!(error.raw_os_error(), Some(97 | 99)) =>
        {
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            bind(address).map_err(|source| BindError { address, flag, source })
        }
        Err(source) => Err(BindError { address, flag, source }),
    }
}

/// Connections that wait to be accepted. The library's 128 overflow in a burst, and then a client waits a whole second
/// before it tries again: as long as some webhooks' timeout.
const BACKLOG: u32 = 4096;

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The admission port.
pub struct Server {
    /// What requests share.
    pub admission: Arc<Admission>,
    /// The TLS configuration in force.
    pub tls: Arc<ArcSwap<ServerConfig>>,
    /// The port.
    pub listener: TcpListener,
}

impl Server {
    /// Answers reviews until the phase is closing and everything under way is done.
    pub async fn serve(self) {
        let Server { admission, tls, listener } = self;
        accept::Listener {
            listener,
            transport: accept::Transport::Tls(tls),
            limits: admission.limits.clone(),
            metrics: Some(Arc::clone(&admission.metrics)),
            phase: admission.phase.clone(),
            router: admission::router(admission),
        }
        .serve()
        .await;
    }
}

/// What the requests of a server share, from its parts.
pub fn admission(
    engine: Engine,
    policy: Policy,
    limits: Limits,
    metrics: Arc<Metrics>,
    log: Log,
    phase: Phase,
) -> Arc<Admission> {
    Arc::new(Admission::new(engine, policy, limits, metrics, log, phase))
}

/// Answers probes and scrapes until the process ends: during the drain they are wanted most.
pub async fn serve_admin(listener: TcpListener, metrics: Arc<Metrics>, phase: Phase) {
    admin::serve(listener, metrics, phase).await;
}
