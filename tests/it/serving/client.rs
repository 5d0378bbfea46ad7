//! A blocking HTTPS client that can also misbehave.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Where and with which CA to connect.
#[derive(Clone)]
pub struct Client {
    pub address: SocketAddr,
    pub config: Arc<ClientConfig>,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    /// Whether the head has this line, in lower case.
    pub fn has(&self, line: &str) -> bool {
        self.head.lines().any(|candidate| candidate.eq_ignore_ascii_case(line))
    }
}

pub fn roots(ca: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    roots
}

pub fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(prefect_guard::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
}

impl Client {
    pub fn new(address: SocketAddr, ca: &str) -> Client {
        let config = builder().with_root_certificates(roots(ca)).with_no_client_auth();
        Client { address, config: Arc::new(config) }
    }

    pub fn tcp(&self) -> TcpStream {
        let tcp = TcpStream::connect(self.address).unwrap();
        tcp.set_nodelay(true).unwrap();
        // No test waits longer for anything.
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        tcp.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        tcp
    }

    /// Connects and shakes hands.
    pub fn try_connect(&self) -> std::io::Result<Stream> {
        let tcp = TcpStream::connect(self.address)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
        tcp.set_write_timeout(Some(Duration::from_secs(20)))?;
        let name = "localhost".try_into().unwrap();
        let mut stream =
            StreamOwned::new(ClientConnection::new(Arc::clone(&self.config), name).unwrap(), tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    pub fn connect(&self) -> Stream {
        self.try_connect().unwrap()
    }

    /// One request over a connection of its own.
    pub fn post(&self, path: &str, body: &[u8]) -> Reply {
        post(&mut self.connect(), path, body).unwrap()
    }
}

/// The head of a POST with a JSON body of this length.
pub fn head(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// Sends one request over an open connection and reads the answer.
pub fn post(stream: &mut Stream, path: &str, body: &[u8]) -> std::io::Result<Reply> {
    let mut request = head(path, body.len()).into_bytes();
    request.extend_from_slice(body);
    stream.write_all(&request)?;
    stream.flush()?;
    reply(stream)
}

/// Reads one answer.
pub fn reply(stream: &mut impl Read) -> std::io::Result<Reply> {
    let eof = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Err(eof());
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(eof)?;
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Reply { status, head, body: String::from_utf8(body).unwrap() })
}

/// Whether the other side has closed: everything that is still to be read, then the end.
pub fn closed(stream: &mut impl Read) -> bool {
    let mut rest = [0; 4096];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                );
            }
        }
    }
}
