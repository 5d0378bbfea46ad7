//! Figures as Markdown tables, and their place in `docs/performance.md`.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::Context;

use crate::measure::{Decided, FLOODING, KNOCKING, Loaded, Process};
use crate::traffic::Http;

/// Where the tables stand in the document.
const BEGIN: &str = "<!-- figures: written by `cargo bench --bench load -- --write` -->\n";
const END: &str = "<!-- end of figures -->\n";

/// Puts the tables between the marks of `docs/performance.md`.
pub fn write(figures: &str) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let (before, rest) = text.split_once(BEGIN).context("the document has lost its opening mark")?;
    let (_, after) = rest.split_once(END).context("the document has lost its closing mark")?;
    std::fs::write(&path, format!("{before}{BEGIN}\n{figures}\n{END}{after}"))?;
    Ok(())
}

/// What kind of machine this is.
pub fn machine() -> anyhow::Result<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, m)| m);
    let cores = std::thread::available_parallelism()?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let date = time::OffsetDateTime::now_utc().date();
    Ok(format!(
        "Measured on {date}: {cores} virtual cores of `{}`, Linux, load average before the run {}.\n",
        model.unwrap_or("an unnamed processor"),
        load.split(' ').next().unwrap_or("unknown"),
    ))
}

/// CPU of decisions.
pub fn decisions(decided: &[Decided]) -> String {
    let mut text = "### One decision, bytes in to bytes out\n\n\
        | review | bytes | CPU, median | quickest | budget | |\n|---|---:|---:|---:|---:|---|\n"
        .to_owned();
    for one in decided {
        let budget = one.budget.map_or(String::new(), |budget| format!("{budget:.0} µs"));
        let verdict = one.budget.map_or("", |budget| met(one.cpu <= budget));
        writeln!(
            text,
            "| {} | {} | {:.1} µs | {:.1} µs | {budget} | {verdict} |",
            one.name, one.bytes, one.cpu, one.least
        )
        .expect("a string takes everything");
    }
    text
}

/// Loads over HTTPS beside the floor.
pub fn loads(loads: &[Loaded]) -> String {
    let mut text = "### A whole admission over HTTPS, beside the floor\n\n\
        | review | HTTP | connections | CPU per request | floor's | ratio | budget | | throughput | median | p99 |\n\
        |---|---|---:|---:|---:|---:|---:|---|---:|---:|---:|\n"
        .to_owned();
    for load in loads {
        let http = if load.http == Http::One { "1.1" } else { "2" };
        writeln!(
            text,
            "| {} | {http} | {} | {:.1} µs | {:.1} µs | {:.2} | {:.1} | {} | {:.2} | {:.2} | {:.2} |",
            load.what,
            load.connections,
            load.guard.cpu,
            load.floor.cpu,
            load.ratio.cpu,
            load.budget,
            met(load.ratio.cpu <= load.budget),
            load.ratio.throughput,
            load.ratio.median,
            load.ratio.p99,
        )
        .expect("a string takes everything");
    }
    text.push_str("\nThe last three columns are ratios to the floor too.\n");
    text
}

/// Loads over HTTPS beside Kubernetes' own webhook.
pub fn reference(loads: &[Loaded]) -> String {
    let mut text = "### Beside Kubernetes' reference webhook in Go (`/add-label`), 16 connections\n\n\
        | HTTP | CPU per request | the reference's | it takes, times ours | budget | | our throughput, times its |\n\
        |---|---:|---:|---:|---:|---|---:|\n"
        .to_owned();
    for load in loads {
        let http = if load.http == Http::One { "1.1" } else { "2" };
        writeln!(
            text,
            "| {http} | {:.1} µs | {:.1} µs | {:.1} | {:.0} | {} | {:.1} |",
            load.guard.cpu,
            load.floor.cpu,
            1.0 / load.ratio.cpu,
            1.0 / load.budget,
            met(load.ratio.cpu <= load.budget),
            load.ratio.throughput,
        )
        .expect("a string takes everything");
    }
    text
}

/// Memory, start and size.
pub fn process(process: &Process) -> String {
    let crowd = &process.crowd;
    let flood = &process.flood;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let bound = |bytes: u64, most: u64| met(bytes <= most << 20);
    let rows = [
        ("memory, idle".to_owned(), mib(process.idle), "14 MiB", bound(process.idle, 14)),
        (
            format!(
                "memory, at most, while {KNOCKING} clients connect at `--max-connections 1000` ({} got in and were \
                 answered, {} attempts were refused)",
                count(&crowd.served),
                count(&crowd.refused)
            ),
            mib(process.crowded),
            "56 MiB",
            bound(process.crowded, 56),
        ),
        (
            format!(
                "memory, at most, while {FLOODING} clients send bodies of 7 MiB ({} answered, {} refused)",
                count(&flood.answered),
                count(&flood.refused)
            ),
            mib(process.flooded),
            "56 MiB",
            bound(process.flooded, 56),
        ),
        ("memory a second after the large bodies".to_owned(), mib(process.after), "", ""),
        (
            "start to ready, given certificates".to_owned(),
            format!("{:.1} ms", process.ready.as_secs_f64() * 1e3),
            "50 ms",
            met(process.ready.as_millis() < 50),
        ),
        ("release binary".to_owned(), mib(process.binary), "20 MiB", bound(process.binary, 20)),
    ];
    let mut text =
        "### Memory, start and size\n\n| what | measured | budget | |\n|---|---:|---:|---|\n".to_owned();
    for (what, measured, budget, verdict) in rows {
        writeln!(text, "| {what} | {measured} | {budget} | {verdict} |").expect("a string takes everything");
    }
    text
}

fn met(met: bool) -> &'static str {
    if met { "met" } else { "**missed**" }
}
