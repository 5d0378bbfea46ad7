//! What `check` and `audit` found, and the ways to print it.

mod found;
mod github;
mod json;
mod sarif;
#[cfg(feature = "cluster")]
mod table;
mod text;

use std::io::Write;

pub(crate) use found::{About, Found, Report, Source, Unread};

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people: each finding at its line.
    Text,
    /// For people: one line a finding, of what has no lines.
    #[cfg(feature = "cluster")]
    #[value(skip)]
    Table,
    /// For programs.
    Json,
    /// For code scanning (SARIF 2.1.0).
    Sarif,
    /// For GitHub Actions: annotations of the changed lines.
    Github,
}

impl Report {
    /// Prints everything; with `explain`, text gives the page of each rule where it is first met.
    pub(crate) fn print(&self, format: Format, explain: bool, out: &mut dyn Write) -> anyhow::Result<()> {
        match format {
            Format::Text => text::print(self, explain, out),
            #[cfg(feature = "cluster")]
            Format::Table => table::print(self, out),
            Format::Json => json::print(self, out),
            Format::Sarif => sarif::print(self, out),
            Format::Github => github::print(self, out),
        }
    }
}
