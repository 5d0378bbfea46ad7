//! What single words of a command line mean: shells, runners, options, assignments.

use std::borrow::Cow;

/// Whether a token names a shell.
pub(super) fn is_shell(token: &str) -> bool {
    matches!(
        basename(token),
        "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" | "mksh" | "rbash" | "fish" | "csh" | "tcsh"
    )
}

/// What stands behind the last slash. By hand: a searcher costs more than a word is long.
pub(crate) fn basename(token: &str) -> &str {
    match token.bytes().rposition(|byte| byte == b'/') {
        Some(slash) => &token[slash + 1..],
        None => token,
    }
}

/// How many leading tokens are options, those named in `takes_value` with their value; a closing `--` counts too.
pub(super) fn options(tokens: &[Cow<'_, str>], takes_value: &[&str]) -> usize {
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if token == "--" {
            return at + 1;
        }
        if !token.starts_with('-') || token.len() < 2 {
            break;
        }
        at += 1 + usize::from(wants_value(token, takes_value));
    }
    at.min(tokens.len())
}

/// Whether the value of an option is the next word: `--user`, `-u`, and `-Eu`, but not `-uroot`.
fn wants_value(option: &str, takes_value: &[&str]) -> bool {
    if option.starts_with("--") || takes_value.contains(&option) {
        return takes_value.contains(&option);
    }
    let takes = |letter: char| {
        takes_value
            .iter()
            .any(|known| known.strip_prefix('-').is_some_and(|known| known.chars().eq([letter])))
    };
    let mut letters = option.chars().skip(1);
    letters.find(|letter| takes(*letter)).is_some() && letters.next().is_none()
}

/// How many tokens belong to `uv run …`, `conda run …` before the program.
pub(super) fn runner(tokens: &[Cow<'_, str>]) -> usize {
    // Options of the runners that take a value in the next token; anything else that starts with `-` stands alone.
    const TAKES_VALUE: &[&str] = &[
        "--project",
        "--directory",
        "--python",
        "-p",
        "--with",
        "--extra",
        "--group",
        "--env-file",
        "--package",
        "--index-url",
        "--cache-dir",
        "--config-file",
        "-n",
        "--name",
        "--environment",
        "--prefix",
        "-e",
        "--cwd",
        "-C",
        "-P",
        "--with-requirements",
        "--with-editable",
        "--only-group",
        "--no-group",
        "-m-env",
        "--manifest-path",
    ];
    let run = tokens.iter().position(|token| token == "run").map_or(0, |at| at + 1);
    run + options(&tokens[run..], TAKES_VALUE)
}

pub(super) fn is_python(name: &str) -> bool {
    let version = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy"));
    version.is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// What a Python interpreter was told to run.
pub(super) struct Python<'t> {
    /// The module, or the script's file name without its folder.
    pub runs: &'t str,
    /// Index of the token after it.
    pub next: usize,
}

/// Reads the arguments of `python`: `-m MODULE`, `-mMODULE`, `-Im MODULE`, or a script. `None` for `-c CODE`.
pub(super) fn python<'t>(tokens: &'t [Cow<'_, str>]) -> Option<Python<'t>> {
    let mut at = 0;
    loop {
        let token = tokens.get(at)?;
        let Some(flags) = token.strip_prefix('-').filter(|flags| !flags.is_empty()) else {
            return Some(Python { runs: basename(token), next: at + 1 });
        };
        at += 1 + usize::from(token == "--check-hash-based-pycs");
        let Some(flag) = flags.find(['c', 'm', 'X', 'W']).filter(|_| !flags.starts_with('-')) else {
            continue;
        };
        let attached = &flags[flag + 1..];
        match (flags.as_bytes()[flag], attached) {
            (b'c', _) => return None,
            (b'm', "") => return Some(Python { runs: tokens.get(at)?, next: at + 1 }),
            (b'm', module) => return Some(Python { runs: module, next: at }),
            (_, "") => at += 1,
            _ => {}
        }
    }
}

/// Whether a word calls Prefect's command: `prefect`, `/venv/bin/prefect`, and `prefect@3.8.8`, `prefect[redis]`,
/// `dev:prefect` for tools that fetch it or look it up.
pub(super) fn is_prefect(token: &str) -> bool {
    let name = basename(token);
    name == "prefect" || is_packaged_prefect(token)
}

/// The forms that only such tools understand.
pub(super) fn is_packaged_prefect(token: &str) -> bool {
    let name = basename(token);
    let name = name.rsplit(':').next().unwrap_or(name);
    if !name.starts_with("prefect") {
        return false;
    }
    let bare = name.split(['@', '=', '[', '<', '>', '~', '!']).next().unwrap_or(name);
    let bare = bare.strip_suffix(".exe").unwrap_or(bare);
    bare == "prefect" && basename(token) != "prefect"
}

/// Options of `database upgrade` with which it does not bring the schema up to date.
pub(super) fn only_talks_of_it(tokens: &[Cow<'_, str>]) -> bool {
    let stops_short = |revision: &str| !matches!(revision, "head" | "heads");
    tokens.iter().enumerate().any(|(index, token)| match &**token {
        "--help" | "-h" | "--dry-run" => true,
        "-r" | "--revision" => tokens.get(index + 1).is_none_or(|revision| stops_short(revision)),
        token => {
            let dry = token.strip_prefix("--dry-run=").is_some_and(|value| value != "false");
            let revision = token.strip_prefix("--revision=").or_else(|| token.strip_prefix("-r"));
            dry || revision.is_some_and(|revision| stops_short(revision.trim_start_matches('=')))
        }
    })
}

/// Whether the arguments of an ASGI server name Prefect's application.
pub(super) fn serves_prefect(tokens: &[Cow<'_, str>]) -> bool {
    tokens.iter().any(|token| {
        let name = token.split('(').next().unwrap_or_default();
        let app = name.rsplit('=').next().unwrap_or_default();
        let app = app.strip_prefix("asgi:").unwrap_or(app);
        matches!(app, "prefect.server.api.server:create_app" | "prefect.orion.api.server:create_app")
    })
}

/// Programs that only talk about what they are given.
pub(super) fn prints_only(name: &str) -> bool {
    matches!(
        name,
        "echo"
            | "printf"
            | "grep"
            | "egrep"
            | "pgrep"
            | "pkill"
            | "killall"
            | "kill"
            | "which"
            | "type"
            | "man"
            | "cat"
            | "sed"
            | "awk"
            | "test"
            | "["
            | "[["
            | "true"
            | "false"
            | ":"
            | "sleep"
            | "ls"
            | "cd"
            | "cp"
            | "mv"
            | "rm"
            | "mkdir"
            | "chown"
            | "chmod"
            | "ln"
            | "touch"
            | "pip"
            | "pip3"
            | "apt-get"
            | "apk"
            | "git"
            | "curl"
            | "wget"
            | "logger"
            | "trap"
            | "alias"
            | "basename"
            | "dirname"
            | "readlink"
            | "realpath"
            | "stat"
            | "find"
            | "helm"
            | "helmfile"
            | "argocd"
            | "say"
            | "log"
            | "info"
            | "warn"
            | "die"
    )
}

pub(super) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

pub(super) fn is_assignment(token: &str) -> bool {
    token.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(is_name_char)
    })
}
