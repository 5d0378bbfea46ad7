//! The `prefect-guard` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    prefect_guard::cli::main()
}
