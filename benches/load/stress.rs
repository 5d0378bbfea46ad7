//! Memory under clients that mean no good: many of them, and large bodies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::process::{Identity, Server};

/// How long each of the two goes on.
const TIME: Duration = Duration::from_secs(8);

/// Between two knocks of a client that was turned away.
const PAUSE: Duration = Duration::from_secs(2);

/// What a crowd of clients met.
#[derive(Debug, Default)]
pub struct Crowd {
    /// Clients that got in, had a review answered and stayed.
    pub served: AtomicU64,
    /// Knocks that were turned away.
    pub refused: AtomicU64,
}

/// What large bodies met.
#[derive(Debug, Default)]
pub struct Flood {
    /// Bodies that were answered with 200.
    pub answered: AtomicU64,
    /// Bodies that were turned away.
    pub refused: AtomicU64,
}

/// `clients` connect at once and knock again when refused; whoever gets in has a review answered and stays.
pub fn knock(server: &Server, identity: &Identity, clients: usize, review: &[u8]) -> anyhow::Result<Crowd> {
    let crowd = Arc::new(Crowd::default());
    let client = Client::new(server.address, identity, review)?;
    runtime()?.block_on(async {
        let end = Instant::now() + TIME;
        let tasks = (0..clients).map(|_| tokio::spawn(client.clone().knock(Arc::clone(&crowd), end)));
        for task in tasks.collect::<Vec<_>>() {
            let _ = task.await;
        }
    });
    Ok(Arc::into_inner(crowd).expect("every client has ended"))
}

/// `clients` send one large review after the other.
pub fn flood(server: &Server, identity: &Identity, clients: usize, review: &[u8]) -> anyhow::Result<Flood> {
    let flood = Arc::new(Flood::default());
    let client = Client::new(server.address, identity, review)?;
    runtime()?.block_on(async {
        let end = Instant::now() + TIME;
        let tasks = (0..clients).map(|_| tokio::spawn(client.clone().flood(Arc::clone(&flood), end)));
        for task in tasks.collect::<Vec<_>>() {
            let _ = task.await;
        }
    });
    Ok(Arc::into_inner(flood).expect("every client has ended"))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

#[derive(Clone)]
struct Client {
    server: SocketAddr,
    tls: TlsConnector,
    request: Arc<[u8]>,
}

impl Client {
    fn new(server: SocketAddr, identity: &Identity, review: &[u8]) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls_pki_types::CertificateDer::from_pem_file(identity.certificate())?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let head = format!(
            "POST /mutate?timeout=10s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            review.len()
        );
        let request: Arc<[u8]> = [head.as_bytes(), review].concat().into();
        Ok(Client { server, tls: TlsConnector::from(Arc::new(config)), request })
    }

    async fn knock(self, crowd: Arc<Crowd>, end: Instant) {
        while Instant::now() < end {
            if let Ok(mut stream) = self.connect().await
                && self.ask(&mut stream).await.is_ok_and(|status| status == 200)
            {
                crowd.served.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep_until(end.into()).await;
                return;
            }
            crowd.refused.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep_until((Instant::now() + PAUSE).min(end).into()).await;
        }
    }

    async fn flood(self, flood: Arc<Flood>, end: Instant) {
        let mut open = None;
        while Instant::now() < end {
            let mut stream = match open.take() {
                Some(stream) => stream,
                None => match self.connect().await {
                    Ok(stream) => stream,
                    Err(_) => continue,
                },
            };
            let answered = self.ask(&mut stream).await.is_ok_and(|status| status == 200);
            let counter = if answered { &flood.answered } else { &flood.refused };
            counter.fetch_add(1, Ordering::Relaxed);
            open = answered.then_some(stream);
        }
    }

    async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.server).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("a DNS name");
        self.tls.connect(name, stream).await
    }

    /// Sends one review and reads the answer to its end; the status.
    async fn ask(&self, stream: &mut TlsStream<TcpStream>) -> std::io::Result<u16> {
        stream.write_all(&self.request).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        let head = loop {
            if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        };
        let text = String::from_utf8_lossy(&answer[..head]).to_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let whole = head + length.unwrap_or(0usize);
        while answer.len() < whole {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0))
    }
}
