//! The command line. One command, one file; this page only says which there are.

mod across;
#[cfg(feature = "cluster")]
pub mod audit;
mod beside;
pub mod check;
#[cfg(feature = "cluster")]
mod cluster;
pub mod completions;
pub mod demo;
mod discover;
#[cfg(feature = "cluster")]
pub mod eject;
pub mod explain;
pub mod init;
pub mod inject;
pub mod job;
mod judge;
mod krm;
mod misplaced;
mod outcome;
mod passed_over;
mod pipe;
pub mod policy;
mod progress;
pub mod reference;
mod report;
pub mod serve;
#[cfg(feature = "cluster")]
pub mod status;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use outcome::Outcome;
use outcome::note;

/// Keeps Prefect servers from starting on a database that was never migrated.
///
/// As a Kubernetes admission webhook (`serve`) it adds the migration to every Prefect server and refuses database
/// settings that cannot work. `check` and `inject` do the same to manifests, without a cluster.
#[derive(Debug, Parser)]
#[command(name = "prefect-guard", version, max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Args>),
    #[command(flatten)]
    Task(Task),
}

/// Commands that print something and end.
#[derive(Debug, Subcommand)]
enum Task {
    Check(check::Args),
    Inject(inject::Args),
    Job(job::Args),
    #[cfg(feature = "cluster")]
    Audit(audit::Args),
    #[cfg(feature = "cluster")]
    Status(status::Args),
    #[cfg(feature = "cluster")]
    Eject(eject::Args),
    Explain(explain::Args),
    Demo(demo::Args),
    Policy(policy::Args),
    Init(init::Args),
    Completions(completions::Args),
}

/// The whole definition of the command line, for completions and reference pages.
pub fn definition() -> clap::Command {
    Cli::command()
}

/// The command line. kubectl runs `kubectl prefect-guard` as `kubectl-prefect_guard`; help and errors then name what
/// was typed.
fn parse() -> Cli {
    let own = std::env::args_os().next().map(PathBuf::from);
    let plugin = own.as_deref().and_then(Path::file_stem).is_some_and(|name| name == "kubectl-prefect_guard");
    let mut command = Cli::command();
    if plugin {
        command = command.bin_name("kubectl prefect-guard");
    }
    let matches = command.get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Parses the command line, runs the command, and returns the exit code.
pub fn main() -> ExitCode {
    let task = match parse().command {
        // Before standard output is locked: the log writes to it from a thread of its own.
        Command::Serve(args) => return serve::main(*args),
        Command::Task(task) => task,
    };
    let mut out = io::BufWriter::new(anstream::stdout().lock());
    match run(&task, &mut out) {
        Ok(outcome) => outcome.into(),
        // What shows or changes things step by step ends where nobody reads on; that is nobody's fault.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("prefect-guard: {error:#}"));
            Outcome::Failed.into()
        }
    }
}

fn run(task: &Task, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let mut patient = pipe::Patient::new(out);
    let outcome = match task {
        Task::Check(args) => check::run(args, &mut patient),
        Task::Inject(args) => match args.as_function()? {
            Some((policy, namespace)) => krm::run(policy, namespace, &mut patient),
            None => inject::run(args, &mut patient),
        },
        Task::Job(args) => job::run(args, &mut patient),
        #[cfg(feature = "cluster")]
        Task::Audit(args) => audit::run(args, &mut patient),
        Task::Explain(args) => explain::run(args, &mut patient),
        Task::Policy(args) => policy::run(args, &mut patient),
        Task::Init(args) => init::run(args, &mut patient),
        Task::Completions(args) => completions::run(args, &mut definition(), &mut patient),
        #[cfg(feature = "cluster")]
        Task::Status(args) => return in_steps(status::run(args, out)?, out),
        #[cfg(feature = "cluster")]
        Task::Eject(args) => return in_steps(eject::run(args, out)?, out),
        Task::Demo(args) => return in_steps(demo::run(args, out)?, out),
    }?;
    patient.flush()?;
    Ok(outcome)
}

fn in_steps(outcome: Outcome, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    out.flush()?;
    Ok(outcome)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}
