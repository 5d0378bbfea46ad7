//! The chart as the real `helm` renders it.
//!
//! `helm` is looked for in `PREFECT_GUARD_HELM`, `target/live/bin` and `PATH`; a missing one fails these tests.

#[path = "chart/documents.rs"]
mod documents;
#[path = "chart/filter.rs"]
mod filter;
#[path = "chart/helm.rs"]
mod helm;
#[path = "chart/monitoring.rs"]
mod monitoring;
#[path = "chart/objects.rs"]
mod objects;
#[path = "chart/properties.rs"]
mod properties;
#[path = "chart/refusals.rs"]
mod refusals;
#[path = "chart/strict.rs"]
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
