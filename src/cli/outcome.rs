//! How a command ends, and what it says beside its output.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

/// How a command ended, as its exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to object to: 0.
    Clean,
    /// Something was refused: 1.
    Refused,
    /// Something could not be read, or the command could not be carried out: 2.
    Failed,
    /// Something is still under way: 3.
    Pending,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        ExitCode::from(match outcome {
            Outcome::Clean => 0,
            Outcome::Refused => 1,
            Outcome::Failed => 2,
            Outcome::Pending => 3,
        })
    }
}

/// What is said where a folder holds nothing to read.
pub(super) const NO_FILE: &str = "no `.yaml`, `.yml` or `.json` file found; `-` reads the standard input";

/// Says something to the person at the terminal, beside the output proper.
pub(crate) fn note(text: fmt::Arguments<'_>) {
    // Nobody reads it when the standard error is closed.
    let _ = writeln!(anstream::stderr(), "{text}");
}
