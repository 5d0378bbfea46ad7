//! The chart as the real `helm` renders it.
//!
//! `helm` is looked for in `PREFECT_GUARD_HELM`, `target/live/bin` and `PATH`; a missing one fails these tests.

mod documents;
mod filter;
mod helm;
mod monitoring;
mod objects;
mod properties;
mod refusals;
mod strict;

use std::path::PathBuf;

/// A path in the repository.
fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file in the repository.
fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
