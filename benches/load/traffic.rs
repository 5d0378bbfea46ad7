//! Requests through `h2load`, and what they cost the server.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::process::{Identity, Server};

/// The HTTP version to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http {
    /// What the API server speaks to Services.
    One,
    /// What it speaks to loopback URLs.
    Two,
}

/// A load: one request at a time on each of some connections.
pub struct Load<'a> {
    /// HTTP version.
    pub http: Http,
    /// How many connections.
    pub connections: u64,
    /// How many requests over all of them.
    pub requests: u64,
    /// The file with the body of each.
    pub body: &'a Path,
}

/// What one run gave.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Requests a second.
    pub throughput: f64,
    /// CPU of the server for one request, in microseconds, handshakes left out.
    pub cpu: f64,
    /// Median time to the answer, in microseconds.
    pub median: f64,
    /// 99th percentile of it.
    pub p99: f64,
}

impl Load<'_> {
    /// Sends the load to a path of a server.
    pub fn send(&self, server: &Server, path: &str, identity: &Identity) -> anyhow::Result<Run> {
        let (start, _) = (server.cpu()?, self.h2load(server, path, self.connections, None)?);
        let connected = server.cpu()?;
        let log = identity.file("requests.log", b"")?;
        let output = self.h2load(server, path, self.connections + self.requests, Some(&log))?;
        let end = server.cpu()?;
        let cpu = (end - connected).saturating_sub(connected - start);
        let mut times: Vec<f64> = std::fs::read_to_string(&log)?
            .lines()
            .filter_map(|line| line.split('\t').nth(2)?.parse().ok())
            .collect();
        ensure!(times.len() as u64 == self.connections + self.requests, "h2load did not log every request");
        times.sort_by(f64::total_cmp);
        Ok(Run {
            throughput: throughput(&output).context("h2load named no rate")?,
            cpu: cpu.as_secs_f64() * 1e6 / self.requests as f64,
            median: times[times.len() / 2],
            p99: times[times.len() * 99 / 100],
        })
    }

    fn h2load(
        &self,
        server: &Server,
        path: &str,
        requests: u64,
        log: Option<&Path>,
    ) -> anyhow::Result<String> {
        let mut command = Command::new("h2load");
        command.args(["-t", "1", "-m", "1", "-H", "content-type: application/json"]);
        command.args(["-c", &self.connections.to_string(), "-n", &requests.to_string()]);
        command.arg("-d").arg(self.body);
        if self.http == Http::One {
            command.arg("--h1");
        }
        if let Some(log) = log {
            command.arg(format!("--log-file={}", log.display()));
        }
        let url = format!("https://{}{path}", server.address);
        let output =
            command.arg(url).output().context("cannot run `h2load` (Debian package `nghttp2-client`)")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let all = format!("status codes: {requests} 2xx");
        ensure!(output.status.success() && text.contains(&all), "not every answer was 200:\n{text}");
        Ok(text)
    }
}

/// From `finished in 1.02s, 19600.00 req/s, 57.10MB/s`.
fn throughput(output: &str) -> Option<f64> {
    let line = output.lines().find(|line| line.starts_with("finished in "))?;
    line.split(", ").find_map(|part| part.strip_suffix(" req/s"))?.trim().parse().ok()
}

/// The middle of some numbers.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}
