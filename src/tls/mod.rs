//! Certificates: what makes one fit to serve (`identity`), where else than files it comes from (`ephemeral`, `managed`),
//! who may connect (`clients`).

pub mod clients;
pub mod ephemeral;
pub mod identity;
pub mod managed;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::crypto::aws_lc_rs;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedCipherSuite};

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

/// TLS 1.3 and the forward-secret AEAD suites of TLS 1.2. Written out, so that a new release of the library does not
/// change what is offered.
const SUITES: [SupportedCipherSuite; 9] = [
    aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
    aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
    aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// X25519MLKEM768 first: Go 1.24 and later, and so current API servers, speak it too.
const GROUPS: [&dyn SupportedKxGroup; 4] = [
    aws_lc_rs::kx_group::X25519MLKEM768,
    aws_lc_rs::kx_group::X25519,
    aws_lc_rs::kx_group::SECP256R1,
    aws_lc_rs::kx_group::SECP384R1,
];

/// The cryptography that the server uses.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: SUITES.to_vec(),
        kx_groups: GROUPS.to_vec(),
        ..aws_lc_rs::default_provider()
    })
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
