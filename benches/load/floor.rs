//! The floor: what the same HTTP and TLS stack costs when nothing is decided. Reads the body, gives back a constant:
//! the very bytes that prefect-guard answers with, so that the difference is what deciding costs.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Serves on a free port of the loopback interface until it is killed. Gives back the content of `answer` to `/mutate`, and that of `allow` to everything else.
pub fn serve([certificate, key, answer, allow]: [&Path; 4]) -> anyhow::Result<()> {
    let tls = TlsAcceptor::from(Arc::new(config(certificate, key)?));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        println!("listening {}", listener.local_addr()?);
        let answer = Bytes::from(std::fs::read(answer)?);
        let allow = Bytes::from(std::fs::read(allow)?);
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(connection(tls.clone(), stream, answer.clone(), allow.clone()));
        }
    })
}

fn config(certificate: &Path, key: &Path) -> anyhow::Result<rustls::ServerConfig> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

async fn connection(tls: TlsAcceptor, stream: TcpStream, answer: Bytes, allow: Bytes) {
    let _ = stream.set_nodelay(true);
    let Ok(stream) = tls.accept(stream).await else { return };
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = if request.uri().path() == "/mutate" { answer.clone() } else { allow.clone() };
        async move {
            let _ = request.into_body().collect().await;
            let mut response = Response::new(Full::new(answer));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok::<_, Infallible>(response)
        }
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
