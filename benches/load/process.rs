//! Server processes under measurement, and what `/proc` says of them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// How long a server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// Certificate and key in files, the same for every server of a run.
pub struct Identity {
    folder: tempfile::TempDir,
}

impl Identity {
    /// Makes a self-signed pair for `localhost`.
    pub fn make() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        fs::write(folder.path().join("tls.crt"), pair.cert.pem())?;
        fs::write(folder.path().join("tls.key"), pair.signing_key.serialize_pem())?;
        Ok(Identity { folder })
    }

    /// The certificate file.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("tls.crt")
    }

    /// The key file.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("tls.key")
    }

    /// A file of its own beside them.
    pub fn file(&self, name: &str, content: &[u8]) -> anyhow::Result<PathBuf> {
        let path = self.folder.path().join(name);
        fs::write(&path, content)?;
        Ok(path)
    }
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    /// Where it takes requests over HTTPS.
    pub address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts `prefect-guard serve` and waits until it is ready; also says how long that took.
    pub fn guard(binary: &Path, identity: &Identity) -> anyhow::Result<(Self, Duration)> {
        let started = Instant::now();
        let mut command = Command::new(binary);
        command
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
            ])
            .args(["--max-connections", "1000", "--tls-cert"])
            .arg(identity.certificate())
            .arg("--tls-key")
            .arg(identity.key());
        let (child, found) = start(command, 2, listening)?;
        let of = |role: &str| found.iter().find(|(name, _)| name == role).map(|(_, address)| *address);
        let (Some(address), Some(admin)) = (of("admission"), of("admin")) else { bail!("it named no port") };
        let server = Server { child, address };
        while !is_ready(admin) {
            ensure!(started.elapsed() < PATIENCE, "`prefect-guard serve` did not become ready");
        }
        Ok((server, started.elapsed()))
    }

    /// Starts the floor, which is this very program.
    pub fn floor(identity: &Identity, answer: &Path, allow: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("floor").arg(identity.certificate()).arg(identity.key()).args([answer, allow]);
        let (child, found) = start(command, 1, |line| {
            Some(("floor".to_owned(), line.strip_prefix("listening ")?.trim().parse().ok()?))
        })?;
        Ok(Server { child, address: found[0].1 })
    }

    /// Starts another webhook to compare with: Kubernetes' own reference, as a program of its own.
    pub fn reference(binary: &Path, identity: &Identity) -> anyhow::Result<Self> {
        // It prints no address: a port that was free a moment ago has to do.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(binary);
        command.arg("--tls-cert-file").arg(identity.certificate());
        command.arg("--tls-private-key-file").arg(identity.key());
        command.args(["--port", &address.port().to_string()]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let server = Server { child: child.context("cannot start the reference webhook")?, address };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            ensure!(started.elapsed() < PATIENCE, "the reference webhook does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// CPU time of all its threads so far.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let mut total = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread that has just ended took its time with it; servers here end none under load.
            let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            total += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(total))
    }

    /// Memory it holds now, in bytes.
    pub fn resident(&self) -> anyhow::Result<u64> {
        self.status("VmRSS:")
    }

    /// The most memory it ever held, in bytes.
    pub fn peak(&self) -> anyhow::Result<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, key: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix(key)).context("a line of /proc/…/status")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? << 10)
    }
}

/// Starts a command and reads its output until `wanted` lines told an address; the rest is read and dropped.
fn start(
    mut command: Command,
    wanted: usize,
    address: impl Fn(&str) -> Option<(String, SocketAddr)>,
) -> anyhow::Result<(Child, Vec<(String, SocketAddr)>)> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start a server")?;
    let mut output = BufReader::new(child.stdout.take().context("its output")?);
    let mut found = Vec::new();
    let mut line = String::new();
    while found.len() < wanted {
        line.clear();
        if output.read_line(&mut line)? == 0 {
            let status = child.wait()?;
            bail!("the server ended before it listened ({status})");
        }
        found.extend(address(&line));
    }
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    Ok((child, found))
}

fn listening(line: &str) -> Option<(String, SocketAddr)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let role = (line["message"] == "listening").then(|| line["role"].as_str())??;
    Some((role.to_owned(), line["address"].as_str()?.parse().ok()?))
}

fn is_ready(admin: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(admin)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head.ends_with(b"200"))
    };
    ask().unwrap_or(false)
}
