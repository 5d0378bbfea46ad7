//! How a shell script calls Prefect, for a migration that has to call it in the same way outside of that script.
//!
//! Words are all that is looked at: a word that names Prefect, and words that change where it is found.

use crate::kubernetes::Container;
use crate::shell::words::basename;
use crate::shell::wrappers::{is_asgi_server, is_runner};

/// How a migration can call what a script calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Program {
    /// `prefect`, found on the image's own `PATH`.
    OnPath,
    /// By these words, which mean the same anywhere in the container.
    Words(Vec<String>),
    /// Not at all: it is found only in an environment or a directory that the script sets up.
    Unknown,
}

/// Reads the command line of a container as one text of words.
pub(super) fn program(container: &Container<'_>) -> Program {
    let line: Vec<&str> = container.command.iter().chain(&container.args).map(|token| &**token).collect();
    let line = line.join(" ").replace(['"', '\''], "");
    let words = line.split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '('));
    let words: Vec<&str> =
        words.map(|word| word.trim_matches([')', '`'])).filter(|word| !word.is_empty()).collect();
    let serves_app = words.iter().any(|word| word.contains(":create_app"));
    let mut calls = (0..words.len()).filter_map(|at| call(&words, at, serves_app));
    let Some(call) = calls.next() else { return on_path(&words) };
    let program = call[0].clone();
    let moves = words.iter().any(|word| matches!(*word, "cd" | "pushd"));
    match () {
        () if calls.any(|other| other != call) => Program::Unknown,
        // What a variable or a command stands for is the script's to know.
        () if program.contains(['$', '`', ')', '~', '{']) => Program::Unknown,
        () if program.starts_with('/') => Program::Words(call),
        // A path from the working directory, which the migration has too.
        () if program.contains('/') && !moves => Program::Words(call),
        () if program.contains('/') => Program::Unknown,
        () => on_path(&words),
    }
}

fn on_path(words: &[&str]) -> Program {
    if changes_path(words) { Program::Unknown } else { Program::OnPath }
}

/// The words that call `prefect` where the word at `at` starts, or is, a Prefect server.
fn call(words: &[&str], at: usize, serves_app: bool) -> Option<Vec<String>> {
    let word = words[at];
    let starts = |from: usize| words[from..].iter().take(6).any(|word| *word == "start");
    let before = |back: usize| at.checked_sub(back).map(|index| words[index]);
    match basename(word) {
        "prefect" if !starts(at + 1) => None,
        "prefect" if before(1) == Some("-m") => {
            let python = before(2).filter(|python| basename(python).starts_with("python"))?;
            Some([python, "-m", "prefect"].map(str::to_owned).to_vec())
        }
        "prefect" => Some(vec![word.to_owned()]),
        name if serves_app && is_asgi_server(name) => Some(vec![match word.rsplit_once('/') {
            Some((directory, _)) => format!("{directory}/prefect"),
            None => "prefect".to_owned(),
        }]),
        _ => None,
    }
}

/// Whether the script looks for programs elsewhere than the image does: another `PATH`, a virtual environment, a
/// runner that has one of its own.
fn changes_path(words: &[&str]) -> bool {
    words.iter().enumerate().any(|(at, word)| {
        let next = words.get(at + 1).copied().unwrap_or_default();
        let soon = |wanted: &str| words[at + 1..].iter().take(12).any(|word| *word == wanted);
        match basename(word) {
            "." | "source" => is_environment(basename(next)),
            name if is_runner(name) && soon("run") => true,
            "conda" | "mamba" | "micromamba" | "pyenv" => soon("run") || soon("activate"),
            "workon" => true,
            _ => word.starts_with("PATH="),
        }
    })
}

/// A file that is sourced for the programs it makes known; a file of secrets is another thing.
fn is_environment(file: &str) -> bool {
    file.starts_with("activate")
        || matches!(file, ".bashrc" | ".profile" | ".bash_profile" | "profile" | "conda.sh" | "mamba.sh")
}

#[cfg(test)]
mod tests {
    use super::{Program, program};
    use crate::kubernetes::Container;

    fn of(script: &str) -> Program {
        let json = serde_json::json!({"name": "s", "command": ["sh", "-c", script]}).to_string();
        program(&serde_json::from_str::<Container<'_>>(&json).unwrap())
    }

    fn words(call: &[&str]) -> Program {
        Program::Words(call.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn takes_words_that_mean_the_same_anywhere() {
        assert_eq!(of("exec /opt/venv/bin/prefect server start"), words(&["/opt/venv/bin/prefect"]));
        assert_eq!(of("cd /app && '/opt/venv/bin/prefect' server start"), words(&["/opt/venv/bin/prefect"]));
        assert_eq!(
            of(". .venv/bin/activate; /v/bin/python3 -m prefect --profile x server start"),
            words(&["/v/bin/python3", "-m", "prefect",])
        );
        let asgi = "/v/bin/uvicorn --factory prefect.server.api.server:create_app";
        assert_eq!(of(asgi), words(&["/v/bin/prefect"]));
        assert_eq!(of("./.venv/bin/prefect server start"), words(&["./.venv/bin/prefect"]));
    }

    #[test]
    fn trusts_the_path_of_the_image_where_the_script_leaves_it_alone() {
        for script in [
            "exec prefect server start",
            "prefect config set A=b; prefect server start --host 0.0.0.0",
            ". /vault/secrets/db && exec prefect server start",
            "cd /app && prefect server services start",
            "uvicorn --factory prefect.server.api.server:create_app",
            "exec $P server start",
            "(prefect server start) & wait",
            "$(which prefect) server start",
        ] {
            assert_eq!(of(script), Program::OnPath, "{script}");
        }
    }

    #[test]
    fn gives_up_where_the_script_sets_the_place_up() {
        for script in [
            "cd /app && ./.venv/bin/prefect server start",
            ". .venv/bin/activate && prefect server start",
            "source /opt/venv/bin/activate; exec prefect server start",
            "uv run prefect server start",
            "cd /app && poetry run -- prefect server start",
            "conda run -n prefect prefect server start",
            "conda activate prefect && prefect server start",
            "export PATH=/opt/venv/bin:$PATH; prefect server start",
            "$VENV/bin/prefect server start",
            "${VENV}/bin/prefect server start",
            "\"$VENV\"/bin/prefect server start",
            "$(dirname $0)/bin/prefect server start",
            "`pwd`/bin/prefect server start",
            "~/venv/bin/prefect server start",
            "prefect server start & /other/bin/prefect server start",
        ] {
            assert_eq!(of(script), Program::Unknown, "{script}");
        }
    }
}
