//! A guard as a process on loopback.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::world::until;

/// A running guard; killed when dropped.
pub(crate) struct Guard {
    child: Child,
    pub(crate) port: u16,
    admin: u16,
}

/// A port that was free a moment ago. The API server has to know it before the guard runs, and keep it over a restart. So
/// it is none of those that the kernel gives to connections (from 32768 on): one of kubectl's would take it.
pub(crate) fn free_port() -> u16 {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let candidate = || {
        // Tests run side by side, each in a process of its own.
        let number = std::process::id().wrapping_mul(16).wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed));
        u16::try_from(20_000 + number % 12_000).expect("below 32 000")
    };
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(candidate).take(1_000).find(is_free).expect("a free port")
}

impl Guard {
    /// Starts one with a throw-away certificate whose CA is written to `folder/ca.crt`.
    pub(crate) fn ephemeral(folder: &Path, port: u16, policy: Option<&Path>) -> Guard {
        let ca = folder.join("ca.crt");
        let mut arguments =
            vec!["--tls-ephemeral".to_owned(), "--ca-out".to_owned(), ca.display().to_string()];
        if let Some(policy) = policy {
            arguments.extend(["--policy".to_owned(), policy.display().to_string()]);
        }
        Guard::start(port, &arguments, None)
    }

    /// Starts one with these arguments and waits until it is ready.
    pub(crate) fn start(port: u16, arguments: &[String], kubeconfig: Option<&Path>) -> Guard {
        let admin = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_prefect-guard"));
        command.args(["serve", "--drain", "0s", "--listen", &format!("127.0.0.1:{port}")]);
        command.args(["--admin-listen", &format!("127.0.0.1:{admin}")]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if let Some(kubeconfig) = kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        let guard = Guard { child: command.spawn().expect("the guard starts"), port, admin };
        until("the guard is ready", || guard.admin("/readyz").is_some_and(|answer| answer.contains(" 200 ")));
        guard
    }

    /// GETs from the admin port.
    fn admin(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// How many reviews it has answered.
    pub(crate) fn answered(&self) -> u64 {
        let text = self.admin("/metrics").expect("metrics");
        let counts = text.lines().filter(|line| line.starts_with("prefect_guard_admission_requests_total"));
        counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
