//! The API server's part in the demo: HTTP/1.1 over TLS, one POST a review.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What the API server allows a webhook by default.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Client {
    address: SocketAddr,
    tls: TlsConnector,
}

impl Client {
    /// A client that trusts one CA, as the API server trusts the `caBundle`.
    pub(super) fn new(address: SocketAddr, ca: &str) -> anyhow::Result<Client> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
        let config = ClientConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Client { address, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Sends a review and returns the `response` of the answer.
    pub(super) async fn review(&self, path: &str, review: &Value) -> anyhow::Result<Value> {
        let answer = tokio::time::timeout(TIMEOUT, self.post(path, review.to_string()));
        let mut answer = answer.await.context("no answer in time")??;
        if answer["response"]["uid"] != review["request"]["uid"] {
            bail!("the answer is to another review");
        }
        Ok(answer["response"].take())
    }

    async fn post(&self, path: &str, body: String) -> anyhow::Result<Value> {
        let stream = TcpStream::connect(self.address).await.context("cannot connect")?;
        let name = ServerName::try_from("localhost").expect("a DNS name");
        let stream = self.tls.connect(name, stream).await.context("no TLS with the server")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = http::Request::post(format!("{path}?timeout=10s"))
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("accept", "application/json, */*")
            .header("user-agent", "kube-apiserver-admission")
            .body(Full::new(Bytes::from(body)))
            .expect("a request of constant parts");
        let response = sender.send_request(request).await.context("no answer")?;
        let status = response.status();
        let bytes = response.into_body().collect().await.context("half an answer")?.to_bytes();
        connection.abort();
        if status != http::StatusCode::OK {
            bail!("the server answered {status}");
        }
        serde_json::from_slice(&bytes).context("the answer is no JSON")
    }
}
