//! The server under load, beside a floor that shares its stack, its certificate and its bodies.
//!
//! `cargo bench --bench load` prints the figures, `cargo bench --bench load -- --write` puts them into
//! `docs/performance.md`. Where `PREFECT_GUARD_REFERENCE` names the webhook of the Kubernetes tests
//! (`test/images/agnhost/webhook` as a program of its own), that is measured too. Needs Linux and `h2load` (Debian package `nghttp2-client`). Every figure that is compared
//! comes from runs that alternate, so that whatever else the machine does meets both.
#![allow(unreachable_pub, reason = "a program of several files")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command that prints its result")]

mod floor;
mod measure;
mod process;
mod report;
mod stress;
#[path = "../support/mod.rs"]
mod support;
mod traffic;

use std::path::Path;
use std::process::ExitCode;

/// Names the binary of another webhook to compare with.
const REFERENCE: &str = "PREFECT_GUARD_REFERENCE";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => figures().map(|figures| println!("{figures}")),
        ["--write"] => figures().and_then(|figures| report::write(&figures)),
        ["floor", certificate, key, answer, allow] => {
            floor::serve([certificate, key, answer, allow].map(Path::new))
        }
        _ => Err(anyhow::anyhow!("load [--write]")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures everything; the tables in Markdown, each shown as soon as it is there.
fn figures() -> anyhow::Result<String> {
    let binary = Path::new(env!("CARGO_BIN_EXE_prefect-guard"));
    let mut tables = Vec::new();
    let mut add = |table: String| {
        eprintln!("{table}");
        tables.push(table);
    };
    add(report::machine()?);
    add(report::decisions(&measure::decisions()?));
    add(report::process(&measure::process(binary)?));
    add(report::loads(&measure::loads(binary)?));
    if let Some(reference) = std::env::var_os(REFERENCE) {
        add(report::reference(&measure::reference(binary, Path::new(&reference))?));
    }
    Ok(tables.join("\n"))
}
