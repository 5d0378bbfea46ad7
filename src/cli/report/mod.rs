//! What `check` and `audit` found, and the ways to print it.

mod found;
mod github;
mod json;
mod junit;
#[cfg(feature = "cluster")]
mod policy_report;
mod sarif;
#[cfg(feature = "cluster")]
mod table;
mod text;

use std::io::Write;

pub(crate) use found::{About, Found, Report, Source, Unread};
#[cfg(feature = "cluster")]
pub(crate) use policy_report::{Flavour, objects};

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
    /// For CI systems that show tests: JUnit's XML.
    Junit,
    /// For policy dashboards: objects for `kubectl apply -f -`.
    #[cfg(feature = "cluster")]
    #[value(skip)]
    Objects(Flavour),
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
            Format::Junit => junit::print(self, out),
            #[cfg(feature = "cluster")]
            Format::Objects(flavour) => policy_report::print(self, flavour, out),
        }
    }
}
