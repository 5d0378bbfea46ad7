//! Certificates: what makes one fit to serve, where they come from, and which clients may connect.

pub mod clients;
mod cryptography;
pub mod ephemeral;
pub mod identity;
pub mod managed;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

pub use cryptography::provider;
use identity::Identity;

/// The certificate in force; replaced as a whole while connections go on.
#[derive(Debug, Default)]
pub struct Current(ArcSwapOption<Identity>);

impl Current {
    /// Serves `identity` from the next handshake on.
    pub fn replace(&self, identity: Identity) {
        self.0.store(Some(Arc::new(identity)));
    }

    /// The certificate in force; none before the first.
    pub fn get(&self) -> Option<Arc<Identity>> {
        self.0.load_full()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().as_ref().map(|identity| Arc::clone(&identity.key))
    }
}

/// The server's side of TLS: 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN.
pub fn server_config(
    current: Arc<Current>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(current);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Resumption saves the API server ten requests' worth of CPU. The state travels in encrypted tickets, so ten
    // thousand clients cost no memory and push nobody out of a cache. A new configuration (another client CA) has new
    // ticket keys: nobody resumes a session that the old one admitted.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(config)
}
