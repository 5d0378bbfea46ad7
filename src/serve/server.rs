//! The admission port: its listener, its TLS configuration and its router.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::net::TcpListener;

use super::accept::{Listener, Transport};
use super::admission::{self, Admission};

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
        Listener {
            listener,
            transport: Transport::Tls(tls),
            limits: admission.limits.clone(),
            metrics: Some(Arc::clone(&admission.metrics)),
            phase: admission.phase.clone(),
            router: admission::router(admission),
        }
        .serve()
        .await;
    }
}
