//! The command line of the migration: the server's own way to call `prefect`, with the upgrade in place of the start.
//!
//! The lock script stands before it where that is wanted.

use std::borrow::Cow;

use super::preparation::{self, Repeated};
use super::script::{SCRIPT, WAIT, Wish};
use crate::kubernetes::image::ImageRef;
use crate::policy::{MigrationMode, Serialize};
use crate::server::Server;
use crate::server::commands::without_lock;
use crate::shell::command::{Action, Call, Invocation, Position, Program};
use crate::shell::programs;
use crate::text::basename;

/// What replaces the server's sub-command.
const UPGRADE: [&str; 4] = ["server", "database", "upgrade", "-y"];

/// `prefect orion database upgrade -y`, for Prefect before 2.8.
const UPGRADE_ORION: [&str; 4] = ["orion", "database", "upgrade", "-y"];

/// One word of a command line.
type Word<'a> = Cow<'a, str>;

/// A container's command and args.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandLine<'a> {
    /// Replaces the image's entrypoint; empty keeps it.
    pub command: Vec<Cow<'a, str>>,
    /// The arguments.
    pub args: Vec<Cow<'a, str>>,
    /// Whether the upgrade takes the lock.
    pub locked: bool,
}

impl std::fmt::Debug for CommandLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandLine").field("locked", &self.locked).finish_non_exhaustive()
    }
}

/// How the migration of `server` is called.
pub fn derive<'a>(server: &Server<'a>, wish: &Wish<'_>) -> CommandLine<'a> {
    let call = server.invocation.server();
    let orion = call.is_some_and(|call| call.orion);
    let position = position(server);
    let can_lock = !position.is_some_and(|position| position.program_kind == Program::Packaged)
        && !server.database.is_visibly_sqlite()
        && !orion;
    let named =
        can_lock.then(|| beside(server, position).or_else(|| interpreter(server, position))).flatten();
    // Who cannot wait migrates: a Python that is not there would hold the pod up for ever.
    let waits = wish.mode == MigrationMode::Wait && named.is_some();
    let python = match wish.serialize {
        _ if !can_lock => None,
        _ if waits => named,
        Serialize::Never => None,
        Serialize::Auto => named,
        Serialize::Always => named.or(Some(Cow::Borrowed("python"))),
    };
    let locked = python.is_some();
    let profile = call.and_then(|call| call.profile.as_ref()?.known()).filter(|name| !name.contains('$'));
    let profile = profile.map(str::to_owned);
    let script = python.map(|python| {
        let (text, options) = match waits {
            true => (WAIT, wish.wait_options(profile.clone())),
            false => (SCRIPT, wish.lock_options()),
        };
        [python, Cow::Borrowed("-c"), Cow::Borrowed(text)].into_iter().chain(options).collect()
    });
    let tail = match (waits, orion) {
        (true, _) => None,
        (false, true) => Some(UPGRADE_ORION.map(Cow::Borrowed)),
        (false, false) => Some(UPGRADE.map(Cow::Borrowed)),
    };
    let (command, args) = match position {
        Some(position) => in_place(server, position, profile, script, tail),
        None => from_scratch(server, profile, script, tail),
    };
    CommandLine { command, args, locked }
}

/// The upgrade of a Job as its author wrote it, under the lock; `None` where it is left alone, or stands in a script.
pub fn lock<'a>(job: &Server<'a>, wish: &Wish<'_>) -> Option<CommandLine<'a>> {
    let call = lockable(job, wish)?;
    let position = call.position?;
    let plain = matches!(position.program_kind, Program::Prefect | Program::PythonModule);
    let argv: Vec<&'a str> = job.container.argv().collect();
    // Options of the upgrade, a revision say, are for the upgrade alone to understand.
    let usual = matches!(argv[position.subcommand..], ["server", "database", "upgrade", "-y" | "--yes"]);
    let restarts = argv[..position.program].iter().any(|word| programs::restarts(basename(word)));
    if !plain || !usual || restarts {
        return None;
    }
    let python = interpreter(job, Some(position))?;
    let script = [python, Cow::Borrowed("-c"), Cow::Borrowed(SCRIPT)].into_iter().chain(wish.lock_options());
    let script: Vec<Word<'a>> = script.collect();
    let boundary = job.container.command.len();
    let at = if boundary <= position.program { boundary } else { boundary + script.len() };
    let mut line: Vec<Word<'a>> = argv.iter().map(|word| Cow::Borrowed(*word)).collect();
    line.splice(position.program..position.program, script);
    let (command, args) = split(line, at);
    Some(CommandLine { command, args, locked: true })
}

/// The one call of a Job that may take the lock: an upgrade that has none yet.
pub(super) fn lockable<'s>(job: &'s Server<'_>, wish: &Wish<'_>) -> Option<&'s Call> {
    let [call] = job.invocation.calls.as_slice() else { return None };
    let wanted = wish.serialize != Serialize::Never && without_lock(job.container).is_none();
    let upgrade = call.action == Action::Upgrade && !call.orion && !call.elsewhere;
    Some(call).filter(|_| wanted && upgrade && !job.database.is_visibly_sqlite())
}

/// Where the server's call stands in the container's own argv, if the migration can stand there too.
pub(super) fn position(server: &Server<'_>) -> Option<Position> {
    let position = server.invocation.server()?.position?;
    let container = server.container;
    let mut before = container.argv().take(position.program);
    let restarts = before.any(|token| programs::restarts(basename(token)));
    (!restarts).then_some(position)
}

/// Whether the migration can call Prefect at all: a script may set up the only place where it is found.
pub(super) fn is_known(server: &Server<'_>) -> bool {
    let prepared = preparation::of(server);
    let installs =
        prepared.installs_prefect || prepared.installs_project && !is_official(&server.container.image);
    position(server).is_some() || !installs && called(&server.invocation) != Called::Unknown
}

/// How a migration can call what a script calls.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Called {
    /// `prefect`, found on the image's own `PATH`.
    OnPath,
    /// By these words, which mean the same anywhere in the container.
    Words(Vec<String>),
    /// Not at all: it is found only in an environment or a directory that the script sets up.
    Unknown,
}

/// How the servers of a script are called.
fn called(invocation: &Invocation) -> Called {
    let mut servers = invocation.calls.iter().filter(|call| call.action.is_server());
    let Some(first) = servers.next() else { return Called::OnPath };
    match servers.any(|other| other.words != first.words) {
        true => Called::Unknown,
        false => called_by(first),
    }
}

fn called_by(call: &Call) -> Called {
    let words: Option<Vec<String>> = call.words.iter().map(|word| word.known().map(str::to_owned)).collect();
    let Some(words) = words else { return Called::Unknown };
    let program = words.first().map(String::as_str).unwrap_or_default();
    let place = call.whereabouts;
    match () {
        // The kubelet reads `$(`, and `~` is the shell's to know.
        () if program.contains(['$', '~']) => Called::Unknown,
        () if program.starts_with('/') => Called::Words(words),
        // A path from the working directory, which the migration has too.
        () if program.contains('/') && !place.moved => Called::Words(words),
        () if program.contains('/') || place.path_changed || place.in_runner => Called::Unknown,
        () => Called::OnPath,
    }
}

/// The Python beside a `prefect` that a script names by its path.
fn beside(server: &Server<'_>, position: Option<Position>) -> Option<Word<'static>> {
    if position.is_some() {
        // Its words are the migration's too; no script has to be searched for them.
        return None;
    }
    let Called::Words(words) = called(&server.invocation) else { return None };
    match words.as_slice() {
        [prefect] => {
            prefect.strip_suffix("/bin/prefect").map(|venv| Cow::Owned(format!("{venv}/bin/python")))
        }
        [python, ..] => Some(Cow::Owned(python.clone())),
        [] => None,
    }
}

/// Puts the upgrade where the server's call stands in its argv; the split into command and args stays.
fn in_place<'a>(
    server: &Server<'a>,
    position: Position,
    profile: Option<String>,
    script: Option<Vec<Word<'a>>>,
    tail: Option<[Word<'a>; 4]>,
) -> (Vec<Word<'a>>, Vec<Word<'a>>) {
    let container = server.container;
    let argv: Vec<&'a str> = container.argv().collect();
    // Who only waits does not call Prefect.
    let mut program = tail.as_ref().map_or_else(Vec::new, |_| prefect_program(&argv, position));
    // Where it stands behind `server` it is not among what is kept.
    if tail.is_some() && !program.iter().any(|word| word == "-p" || word.starts_with("--profile")) {
        program.extend(with_profile(profile));
    }
    let boundary = container.command.len();
    let inserted = script.as_ref().map_or(0, Vec::len);
    let split = match boundary {
        _ if boundary <= position.program => boundary,
        _ if inserted > 0 => position.program + inserted,
        _ => position.program + program.len().min(boundary - position.program),
    };
    let mut line: Vec<Word<'a>> =
        Vec::with_capacity(position.program + inserted + program.len() + UPGRADE.len());
    line.extend(argv[..position.program].iter().map(|token| Cow::Borrowed(*token)));
    line.extend(script.into_iter().flatten());
    line.extend(program);
    line.extend(tail.into_iter().flatten());
    let args = line.split_off(split);
    (line, args)
}

/// The tokens that call `prefect`, global options included.
fn prefect_program<'a>(argv: &[&'a str], position: Position) -> Vec<Word<'a>> {
    let first = argv[position.program];
    match position.program_kind {
        Program::Prefect | Program::PythonModule | Program::Packaged => {
            argv[position.program..position.subcommand].iter().map(|token| Cow::Borrowed(*token)).collect()
        }
        Program::Asgi => vec![sibling(first, "prefect")],
        Program::AsgiModule => [first, "-m", "prefect"].map(Cow::Borrowed).to_vec(),
        // The script takes a program's name: `uv run python -c … prefect`, in place of `uv run -m prefect`.
        Program::RunnerModule => {
            let options = argv.get(position.program + 2..position.subcommand).unwrap_or_default();
            std::iter::once("prefect").chain(options.iter().copied()).map(Cow::Borrowed).collect()
        }
    }
}

fn with_profile<'a>(profile: Option<String>) -> Vec<Word<'a>> {
    profile.into_iter().flat_map(|name| [Cow::Borrowed("--profile"), Cow::Owned(name)]).collect()
}

/// The documented fallback, where the server's call cannot be rewritten (a shell script, an unreadable command).
fn from_scratch<'a>(
    server: &Server<'a>,
    profile: Option<String>,
    script: Option<Vec<Word<'a>>>,
    tail: Option<[Word<'a>; 4]>,
) -> (Vec<Word<'a>>, Vec<Word<'a>>) {
    let container = server.container;
    let program: Vec<Word<'a>> = match called(&server.invocation) {
        Called::Words(words) => words.into_iter().map(Cow::Owned).collect(),
        Called::OnPath | Called::Unknown => vec![Cow::Borrowed("prefect")],
    };
    let call: Vec<Word<'a>> = match tail {
        Some(tail) => program.into_iter().chain(with_profile(profile)).chain(tail).collect(),
        None => Vec::new(),
    };
    let inserted = script.as_ref().map_or(0, Vec::len);
    let line: Vec<Word<'a>> = script.into_iter().flatten().chain(call).collect();
    let before = before_script(server);
    if !before.is_empty() {
        // The split of the server's own argv stays as far as its words do.
        let boundary = container.command.len().min(before.len());
        return split(before.into_iter().chain(line).collect(), boundary);
    }
    let keeps_entrypoint =
        container.command.is_empty() && (!container.args.is_empty() || is_official(&container.image));
    let boundary = if keeps_entrypoint { 0 } else { inserted.max(1) };
    split(line, boundary)
}

/// The words of the server's argv that the migration has too: the wrappers before its shell (the image's entrypoint
/// installs packages, others fill the environment), and the part of its script that prepares.
fn before_script<'a>(server: &Server<'a>) -> Vec<Word<'a>> {
    let container = server.container;
    let argv = |count: usize| container.argv().take(count);
    let repeated = preparation::repeated(server).filter(|repeated| !repeated.before.trim().is_empty());
    if let Some(Repeated { shell, script, before }) = repeated {
        let name = argv(shell + 1).last().map_or("sh", basename);
        let script_text = Cow::Owned(format!("{before}exec \"$@\""));
        return argv(script).map(Cow::Borrowed).chain([script_text, Cow::Borrowed(name)]).collect();
    }
    let shell = server.invocation.server().and_then(|call| Some(call.script.as_ref()?.shell)).unwrap_or(0);
    let restarts = argv(shell).any(|word| programs::restarts(basename(word)));
    if restarts { Vec::new() } else { argv(shell).map(Cow::Borrowed).collect() }
}

pub(super) fn split<'a>(mut line: Vec<Word<'a>>, at: usize) -> (Vec<Word<'a>>, Vec<Word<'a>>) {
    let args = line.split_off(at.min(line.len()));
    (line, args)
}

/// The Python that runs the server's Prefect, where it can be named with confidence.
fn interpreter<'a>(server: &Server<'a>, position: Option<Position>) -> Option<Word<'a>> {
    let bare = || is_official(&server.container.image).then_some(Cow::Borrowed("python"));
    let Some(position) = position else { return bare() };
    let container = server.container;
    let token = container.argv().nth(position.program)?;
    match position.program_kind {
        Program::PythonModule | Program::AsgiModule => Some(Cow::Borrowed(token)),
        Program::RunnerModule => Some(Cow::Borrowed("python")),
        Program::Packaged => None,
        Program::Prefect | Program::Asgi if token.contains('/') => python_beside(token),
        Program::Prefect | Program::Asgi if position.in_runner => Some(Cow::Borrowed("python")),
        Program::Prefect | Program::Asgi => bare(),
    }
}

/// The Python of a program that is called by its path in a `bin`.
pub(super) fn python_beside(program: &str) -> Option<Word<'static>> {
    let (directory, _) = program.rsplit_once('/')?;
    directory.ends_with("/bin").then(|| sibling(program, "python"))
}

pub(super) fn is_official(image: &str) -> bool {
    ImageRef::parse(image).is_some_and(|image| image.is_official_prefect())
}

/// Another program of the same directory: `/venv/bin/uvicorn` → `/venv/bin/prefect`.
fn sibling(path: &str, name: &'static str) -> Word<'static> {
    match path.rsplit_once('/') {
        Some((directory, _)) => Cow::Owned(format!("{directory}/{name}")),
        None => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::{Called, called};
    use crate::shell::reading::read;

    fn of(script: &str) -> Called {
        called(&read(&["sh", "-c", script], &|_| None))
    }

    fn words(call: &[&str]) -> Called {
        Called::Words(call.iter().map(|word| (*word).to_owned()).collect())
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
            assert_eq!(of(script), Called::OnPath, "{script}");
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
            assert_eq!(of(script), Called::Unknown, "{script}");
        }
    }
}
