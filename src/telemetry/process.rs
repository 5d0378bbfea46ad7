//! The process's own figures, read from `/proc` when somebody asks.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::log::Log;

/// Clock ticks a second in `/proc/self/stat`: Linux shows 100 to user space on every architecture.
const TICKS: f64 = 100.0;

/// Memory, file descriptors and CPU of this process, under the names every Prometheus client uses.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) log: Log,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = |name: &str, help: &str, value: Option<f64>| match value {
            Some(value) => {
                let metric = ConstGauge::new(value);
                metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
            }
            None => Ok(()),
        };
        gauge("process_resident_memory_bytes", "Resident memory in bytes", resident())?;
        gauge("process_open_fds", "Open file descriptors", open_files())?;
        gauge(
            "process_max_fds",
            "The most file descriptors that may be open",
            open_files_limit().map(|n| n as f64),
        )?;
        gauge("process_start_time_seconds", "Start of the process, seconds since 1970", started())?;
        if let Some(seconds) = cpu() {
            let help = "CPU time of user and system in seconds";
            ConstCounter::new(seconds).encode(encoder.encode_descriptor(
                "process_cpu_seconds",
                help,
                None,
                MetricType::Counter,
            )?)?;
        }
        let help = "Log lines that were dropped because their reader was too slow or gone";
        ConstCounter::new(self.log.dropped()).encode(encoder.encode_descriptor(
            "prefect_guard_log_lines_dropped",
            help,
            None,
            MetricType::Counter,
        )?)
    }
}

fn resident() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024.0)
}

fn open_files() -> Option<f64> {
    // The directory handle of this very look is one of them.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

/// The soft limit of open files.
pub(crate) fn open_files_limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The fields of `/proc/self/stat` after the name, which may itself hold blanks.
fn stat() -> Option<Vec<f64>> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let fields = stat.rsplit_once(')')?.1;
    Some(fields.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect())
}

fn cpu() -> Option<f64> {
    // utime and stime are the 14th and 15th field of the line, so the 12th and 13th after the name.
    let fields = stat()?;
    Some((fields.get(11)? + fields.get(12)?) / TICKS)
}

fn started() -> Option<f64> {
    let fields = stat()?;
    let kernel = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = kernel.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + fields.get(19)? / TICKS)
}
