//! The real binary as a process of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::client::Client;
use super::{pki, wait_until};

/// A running `prefect-guard serve`; killed when dropped.
pub struct Process {
    pub child: Child,
    pub lines: Arc<Mutex<Vec<Value>>>,
    pub folder: TempDir,
    pub ca: String,
}

/// The command with everything on free loopback ports and nothing from the environment.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prefect-guard"));
    command.env_clear().stdin(Stdio::null());
    command.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--log-format",
        "json",
    ]);
    command
}

impl Process {
    /// Starts with a certificate in files and `arguments`, and waits until it is ready.
    pub fn start(arguments: &[&str]) -> Process {
        Process::start_with(arguments, |_| {})
    }

    /// As `start`; `prepare` may put more files into the folder.
    pub fn start_with(arguments: &[&str], prepare: impl FnOnce(&Path)) -> Process {
        Process::start_in(TempDir::new().unwrap(), arguments, |folder, _| prepare(folder))
    }

    /// As `start`; `prepare` may put more files into the folder, and change the command.
    pub fn start_in(
        folder: TempDir,
        arguments: &[&str],
        prepare: impl FnOnce(&Path, &mut Command),
    ) -> Process {
        let pair = pki::pair();
        std::fs::write(folder.path().join("tls.crt"), &pair.certificate).unwrap();
        std::fs::write(folder.path().join("tls.key"), &pair.key).unwrap();
        let mut command = command();
        command.current_dir(folder.path());
        command.args(["--tls-cert", "tls.crt", "--tls-key", "tls.key"]).args(arguments);
        prepare(folder.path(), &mut command);
        let process = Process::spawn(command, folder, pair.ca);
        wait_until("the server is ready", || process.has("ready"));
        process
    }

    /// Runs a command that is set up already, in this folder.
    pub fn spawn(mut command: Command, folder: TempDir, ca: String) -> Process {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (out, theirs) = (child.stdout.take().unwrap(), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                theirs.lock().unwrap().push(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        Process { child, lines, folder, ca }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whether a line with this message was logged.
    pub fn has(&self, message: &str) -> bool {
        !self.said(message).is_empty()
    }

    /// All lines with this message.
    pub fn said(&self, message: &str) -> Vec<Value> {
        self.lines.lock().unwrap().iter().filter(|line| line["message"] == message).cloned().collect()
    }

    pub fn address(&self, role: &str) -> SocketAddr {
        let lines = self.said("listening");
        let line = lines.iter().find(|line| line["role"] == role).unwrap();
        line["address"].as_str().unwrap().parse().unwrap()
    }

    pub fn client(&self) -> Client {
        Client::new(self.address("admission"), &self.ca)
    }

    /// GETs from the admin port: status and body.
    pub fn admin(&self, path: &str) -> (u16, String) {
        admin(self.address("admin"), path)
    }

    pub fn metric(&self, line: &str) -> f64 {
        super::metric(&self.admin("/metrics").1, line)
    }

    pub fn wait_for(&self, line: &str, at_least: f64) {
        wait_until(line, || self.metric(line) >= at_least);
    }

    pub fn signal(&self, name: &str) {
        let killed = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(killed.unwrap().success());
    }

    /// Waits for the end, at most 20 seconds.
    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the process does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The most memory it ever had resident, in bytes.
    pub fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// GETs a path over plain HTTP.
pub fn admin(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Runs the command to its end, which must come by itself and within a minute: exit code and standard error.
pub fn fails(arguments: &[&str], folder: &Path) -> (i32, String) {
    let mut command = command();
    command.current_dir(folder).env("HOME", "/nonexistent").args(arguments);
    let output = assert_cmd::Command::from_std(command).timeout(Duration::from_secs(60)).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}
