//! `prefect-guard completions`: completion scripts for shells.

use std::io::Write;

use super::Outcome;

/// Prints the completion script for a shell.
///
/// For example: `prefect-guard completions bash > /etc/bash_completion.d/prefect-guard`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    shell: clap_complete::Shell,
}

pub(super) fn run(
    args: &Args,
    definition: &mut clap::Command,
    out: &mut dyn Write,
) -> anyhow::Result<Outcome> {
    // The generator panics on a closed pipe, so it writes to memory first.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, definition, "prefect-guard", &mut script);
    out.write_all(&script)?;
    Ok(Outcome::Clean)
}
