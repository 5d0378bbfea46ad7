//! The program itself, run to its end, and what it said.

use std::process::{Command, Output};

/// A run that has ended.
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// The program, to be run in the repository, without settings from outside.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prefect-guard"));
    command.current_dir(super::root()).env_remove("RUST_LOG");
    command
}

/// Runs it with these arguments and this standard input.
pub fn run(arguments: &[&str], input: &str) -> Ran {
    let mut command = program();
    command.args(arguments);
    read(assert_cmd::Command::from_std(command).write_stdin(input).output().expect("the program runs"))
}

/// What a run left, which never holds a password of the tests, nor a panic.
pub fn read(output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let ran = Ran {
        code: output.status.code().expect("no signal"),
        out: text(output.stdout),
        err: text(output.stderr),
    };
    for text in [&ran.out, &ran.err] {
        assert!(!text.contains("panicked"), "{text}");
    }
    assert!(!ran.err.contains("hunter2-canary"), "{}", ran.err);
    ran
}
