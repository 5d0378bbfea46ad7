//! `prefect-guard policy`: the policy file, checked and described.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;

use super::{Outcome, note};
use crate::manifest::files;
use crate::policy::{Policy, annotation_schema, schema};
use crate::rules::CATALOGUE;

/// Checks a policy file, or prints its JSON Schema.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Reads a policy file as `serve` would and says what is wrong with it, by line.
    Check {
        /// The policy file.
        file: PathBuf,
    },
    /// Prints the JSON Schema of the policy file, for editors and linters.
    Schema {
        /// Print the schema of a pod template's annotations `prefect-guard.io/*` instead.
        #[arg(long)]
        annotations: bool,
    },
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    match &args.command {
        Command::Check { file } => {
            load(Some(file))?;
            note(format_args!("`{}` is a policy", file.display()));
        }
        Command::Schema { annotations } => {
            let schema = if *annotations { annotation_schema::schema(CATALOGUE) } else { schema(CATALOGUE) };
            serde_json::to_writer_pretty(&mut *out, &schema)?;
            writeln!(out)?;
        }
    }
    Ok(Outcome::Clean)
}

/// The policy to judge by, as every command takes it.
#[derive(Debug, clap::Args)]
pub(super) struct PolicyFile {
    /// The policy file; without it, the built-in policy.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl PolicyFile {
    /// The policy in the named file, where one is named.
    pub(super) fn given(&self) -> anyhow::Result<Option<Policy>> {
        self.policy.as_ref().map(|file| load(Some(file))).transpose()
    }

    pub(super) fn load(&self) -> anyhow::Result<Policy> {
        load(self.policy.as_ref())
    }
}

/// The policy in a file, or the built-in one. The error names the file and the line.
pub(super) fn load(file: Option<&PathBuf>) -> anyhow::Result<Policy> {
    let Some(file) = file else { return Ok(Policy::default()) };
    let text = files::read(file, &file.display().to_string()).context("cannot read the policy")?;
    Policy::from_yaml(&text, CATALOGUE).with_context(|| format!("cannot use the policy `{}`", file.display()))
}
