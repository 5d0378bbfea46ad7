//! What a container runs: its argv read token by token, through wrappers, runners and shell strings, down to a
//! `prefect` call.
//!
//! The image's name and the container's name say nothing here: a worker runs the same image. Sources: the Prefect
//! CLI (`prefect/cli/server.py`), the image's entrypoint (`/usr/bin/tini -g -- /opt/prefect/entrypoint.sh`).

use std::borrow::Cow;
use std::fmt;

use super::shell;

/// What a Prefect call does, as far as it matters to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// `prefect server start`, or an ASGI server that serves `prefect.server.api.server:create_app`.
    Serve,
    /// `prefect server services start`: background services on the same database.
    Services,
    /// `prefect server database upgrade`.
    Upgrade,
    /// `prefect server database reset`: drops everything.
    Reset,
    /// `prefect server database downgrade`.
    Downgrade,
    /// `prefect server database stamp`, `revision` and the like.
    OtherDatabase,
}

impl Action {
    /// A server, or something that needs its schema as a server does.
    pub fn is_server(self) -> bool {
        matches!(self, Action::Serve | Action::Services)
    }
}

/// How `prefect` is called in an argv.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Index of the token that starts Prefect: `prefect`, `python` (of `python -m prefect`) or the ASGI server.
    pub program: usize,
    /// Index of the first token of the sub-command (`server`), after global options; for an ASGI server the same
    /// as `program`.
    pub subcommand: usize,
    /// Started through a runner that sets the interpreter (`uv run`, `poetry run`…).
    pub in_runner: bool,
    /// What kind of token `program` is.
    pub program_kind: Program,
}

/// What starts Prefect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The `prefect` console script.
    Prefect,
    /// `python … -m prefect`.
    PythonModule,
    /// `uvicorn`, `gunicorn`…
    Asgi,
    /// `python … -m uvicorn` and the like.
    AsgiModule,
}

/// One Prefect call of a container.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// What it does.
    pub action: Action,
    /// `prefect orion …` of Prefect before 2.8.
    pub orion: bool,
    /// Where it stands in the container's own argv; `None` inside a shell script.
    pub position: Option<Position>,
    /// `--profile NAME`, when given.
    pub profile: Option<String>,
    /// How many entries of [`Invocation::exports`] come before this call.
    exports_before: usize,
}

/// What a container runs.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Invocation<'a> {
    /// The Prefect calls we care about, in order.
    pub calls: Vec<Call>,
    /// Variables that wrappers and shell scripts set, in order: `None` where the value cannot be read.
    pub exports: Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>,
    /// Settings written by `prefect config set NAME=VALUE` in the script.
    pub profile_settings: Vec<(String, Option<String>)>,
    /// The script reads files or command output that may set any variable (`. FILE`, `export $(…)`).
    pub opaque_exports: bool,
    /// The command is a shell script given on the command line.
    pub shell: bool,
    /// The command is a script or a string that we cannot read.
    pub unreadable: bool,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.action).field(&self.position).finish()
    }
}

/// Names only: what a script sets may be a password.
impl fmt::Debug for Invocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exports: Vec<&str> = self.exports.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("Invocation")
            .field("calls", &self.calls)
            .field("exports", &exports)
            .finish_non_exhaustive()
    }
}

impl Invocation<'_> {
    /// The first call that is a server.
    pub fn server(&self) -> Option<&Call> {
        self.calls.iter().find(|call| call.action.is_server())
    }

    /// The call that names the container's role: the server if there is one, else the first database command.
    pub fn main_call(&self) -> Option<&Call> {
        self.server().or(self.calls.first())
    }

    /// Whether the container's own script migrates before it starts the server.
    pub fn upgrades_first(&self) -> bool {
        let upgrade = self.calls.iter().position(|call| call.action == Action::Upgrade);
        let serve = self.calls.iter().position(|call| call.action.is_server());
        matches!((upgrade, serve), (Some(upgrade), Some(serve)) if upgrade < serve)
    }

    /// Whether it runs a database migration (and is no server).
    pub fn is_migration(&self) -> bool {
        self.server().is_none() && self.calls.iter().any(|call| call.action == Action::Upgrade)
    }

    /// The same, borrowing nothing.
    pub fn into_owned<'b>(self) -> Invocation<'b> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let exports = self.exports.into_iter().map(|(name, value)| (owned(name), value.map(owned))).collect();
        Invocation {
            exports,
            calls: self.calls,
            profile_settings: self.profile_settings,
            opaque_exports: self.opaque_exports,
            shell: self.shell,
            unreadable: self.unreadable,
        }
    }

    /// The variables set before the main call.
    pub fn exports_before_main(&self) -> &[(Cow<'_, str>, Option<Cow<'_, str>>)] {
        let end = self.main_call().map_or(self.exports.len(), |call| call.exports_before);
        &self.exports[..end]
    }
}

/// Reads an argv (command, then args). `lookup` gives the literal value of an environment variable, for `$VAR` in
/// a shell string.
pub fn read<'a>(argv: &[&'a str], lookup: &dyn Fn(&str) -> Option<String>) -> Invocation<'a> {
    let mut reader = Reader { invocation: Invocation::default(), lookup, depth: 0 };
    let tokens: Vec<Cow<'a, str>> = argv.iter().map(|token| Cow::Borrowed(*token)).collect();
    reader.command(&tokens, 0, Level::Argv);
    reader.invocation
}

/// Whether a token names a shell.
pub(super) fn is_shell(token: &str) -> bool {
    matches!(basename(token), "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh")
}

fn basename(token: &str) -> &str {
    token.rsplit('/').next().unwrap_or(token)
}

/// Where the words come from: the container's own argv, or a shell script in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Argv,
    Script,
}

/// How deep `sh -c` and `eval` may nest.
const MAX_DEPTH: usize = 6;

struct Reader<'a, 'l> {
    invocation: Invocation<'a>,
    lookup: &'l dyn Fn(&str) -> Option<String>,
    depth: usize,
}

/// What came of skipping one wrapper.
enum Step {
    /// Go on reading at this index.
    At(usize),
    /// The same, and a runner sets the interpreter for what follows.
    InRunner(usize),
    /// This is no wrapper.
    Done,
}

impl<'a> Reader<'a, '_> {
    /// Reads one command from token `at` on.
    fn command(&mut self, tokens: &[Cow<'a, str>], mut at: usize, level: Level) {
        let mut in_runner = false;
        while at < tokens.len() {
            let name = basename(&tokens[at]);
            if is_shell(name) {
                return self.shell(tokens, at, level);
            }
            if name == "eval" && level == Level::Script {
                let script = tokens[at + 1..].join(" ");
                return self.script(&script, &[]);
            }
            match self.wrapper(tokens, at, level) {
                Step::At(next) => at = next,
                Step::InRunner(next) => (at, in_runner) = (next, true),
                Step::Done => return self.program(tokens, at, level, in_runner),
            }
        }
    }

    /// Skips one wrapper that runs the rest of its arguments.
    fn wrapper(&mut self, tokens: &[Cow<'a, str>], at: usize, level: Level) -> Step {
        let rest = &tokens[at + 1..];
        let with_options = |takes_value: &[&str]| at + 1 + options(rest, takes_value);
        match basename(&tokens[at]) {
            "tini" | "tini-static" | "dumb-init" | "catatonit" | "docker-init" => {
                Step::At(with_options(&["-p", "-e", "-r", "--rewrite"]))
            }
            "env" => Step::At(self.assignments(tokens, with_options(&["-u", "-C", "--unset", "--chdir"]))),
            "exec" => Step::At(with_options(&["-a"])),
            "command" | "nohup" | "time" | "builtin" | "ddtrace-run" | "catchsegv" | "setsid" => {
                Step::At(with_options(&["-f", "-o"]))
            }
            "nice" | "ionice" | "stdbuf" | "chrt" | "taskset" => {
                Step::At(with_options(&["-n", "-c", "-p", "-i", "-o", "-e"]))
            }
            "sudo" => Step::At(self.assignments(tokens, with_options(&["-u", "-g", "--user", "--group"]))),
            "gosu" | "su-exec" | "chroot" | "setuidgid" => Step::At((at + 2).min(tokens.len())),
            "timeout" => {
                Step::At((with_options(&["-s", "-k", "--signal", "--kill-after"]) + 1).min(tokens.len()))
            }
            "newrelic-admin" if rest.first().is_some_and(|t| t == "run-program") => Step::At(at + 2),
            "busybox" => Step::At(at + 1),
            "uv" | "poetry" | "pdm" | "pipenv" | "hatch" | "rye" | "pixi" | "conda" | "mamba"
            | "micromamba"
                if rest.iter().any(|t| t == "run") =>
            {
                Step::InRunner(at + 1 + runner(rest))
            }
            name if name.ends_with("entrypoint.sh") && !rest.is_empty() => Step::At(at + 1),
            _ if is_assignment(&tokens[at]) && level == Level::Script => {
                Step::At(self.assignments(tokens, at))
            }
            _ => Step::Done,
        }
    }

    /// Records leading `NAME=VALUE` tokens; returns the index after them.
    fn assignments(&mut self, tokens: &[Cow<'a, str>], mut at: usize) -> usize {
        while let Some(token) = tokens.get(at)
            && is_assignment(token)
        {
            self.export(token);
            at += 1;
        }
        at
    }

    /// Records `NAME=VALUE` (or a bare `NAME`, whose value stays what it was).
    fn export(&mut self, assignment: &str) {
        let Some((name, value)) = assignment.split_once('=') else { return };
        let value = self.expand(value).map(Cow::Owned);
        self.invocation.exports.push((Cow::Owned(name.to_owned()), value));
    }

    /// Puts in the variables that are known; `None` when something cannot be read.
    fn expand(&self, text: &str) -> Option<String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            out.push_str(&rest[..dollar]);
            let after = &rest[dollar + 1..];
            let (name, tail) = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}')?,
                None => after.split_at(after.find(|c: char| !is_name_char(c)).unwrap_or(after.len())),
            };
            if name.is_empty() || !name.chars().all(is_name_char) {
                return None;
            }
            out.push_str(&self.variable(name)?);
            rest = tail;
        }
        out.push_str(rest);
        Some(out)
    }

    /// The value of a variable as the script sees it so far.
    fn variable(&self, name: &str) -> Option<String> {
        match self.invocation.exports.iter().rev().find(|(known, _)| known == name) {
            Some((_, value)) => value.as_deref().map(str::to_owned),
            None => (self.lookup)(name),
        }
    }

    /// `sh [options] -c SCRIPT [args]`, or `sh FILE`.
    fn shell(&mut self, tokens: &[Cow<'a, str>], at: usize, level: Level) {
        let mut next = at + 1;
        let mut given = false;
        while let Some(token) = tokens.get(next) {
            if token == "--" || !(token.starts_with('-') || token.starts_with('+')) || token.len() < 2 {
                next += usize::from(token == "--");
                break;
            }
            let short = !token.starts_with("--");
            given |= short && token.contains('c');
            let takes_value = short && (token.ends_with('o') || token.ends_with('O'))
                || matches!(&**token, "--rcfile" | "--init-file");
            next += 1 + usize::from(takes_value);
        }
        match tokens.get(next) {
            Some(script) if given => {
                self.invocation.shell = true;
                self.script(&script.clone(), tokens.get(next + 2..).unwrap_or_default());
            }
            Some(file) if basename(file).ends_with("entrypoint.sh") && next + 1 < tokens.len() => {
                self.command(tokens, next + 1, level);
            }
            Some(_) => self.invocation.unreadable = true,
            None => {}
        }
    }

    /// Reads a script; `arguments` are its `"$@"`.
    fn script(&mut self, script: &str, arguments: &[Cow<'a, str>]) {
        if self.depth == MAX_DEPTH {
            self.invocation.unreadable = true;
            return;
        }
        self.depth += 1;
        match shell::commands(script) {
            Some(commands) => commands.into_iter().for_each(|words| self.simple_command(words, arguments)),
            None => self.invocation.unreadable = true,
        }
        self.depth -= 1;
    }

    /// One simple command of a script: variables put in, then read like an argv.
    fn simple_command(&mut self, words: Vec<String>, arguments: &[Cow<'a, str>]) {
        if self.shell_builtin(&words) {
            return;
        }
        let mut tokens: Vec<Cow<'a, str>> = Vec::with_capacity(words.len());
        for word in words {
            if matches!(word.as_str(), "$@" | "$*" | "${@}") {
                tokens.extend(arguments.iter().cloned());
            } else if word.starts_with('$') && !is_assignment(&word) {
                // An unquoted variable is split into words; a quoted one that holds blanks names no program.
                match self.expand(&word) {
                    Some(value) => tokens.extend(value.split_whitespace().map(|w| Cow::Owned(w.to_owned()))),
                    None => tokens.push(Cow::Owned(word)),
                }
            } else {
                tokens.push(Cow::Owned(word));
            }
        }
        self.command(&tokens, 0, Level::Script);
    }

    /// Commands that change the script's own environment. True when there is nothing else to see.
    fn shell_builtin(&mut self, words: &[String]) -> bool {
        let Some(first) = words.first() else { return true };
        match first.as_str() {
            "export" | "declare" | "typeset" | "readonly" => {
                for word in &words[1..] {
                    if is_assignment(word) {
                        self.export(word);
                    } else if word.contains('$') {
                        self.invocation.opaque_exports = true;
                    }
                }
                true
            }
            "." | "source" => {
                self.invocation.opaque_exports = true;
                true
            }
            _ if words.iter().all(|word| is_assignment(word)) => {
                words.iter().for_each(|word| self.export(word));
                true
            }
            _ => false,
        }
    }

    /// The program itself, all wrappers gone.
    fn program(&mut self, tokens: &[Cow<'a, str>], at: usize, level: Level, in_runner: bool) {
        let name = basename(&tokens[at]);
        let rest = &tokens[at + 1..];
        let position = |subcommand, program_kind| {
            (level == Level::Argv).then_some(Position { program: at, subcommand, in_runner, program_kind })
        };
        if name == "prefect" {
            self.prefect(tokens, at + 1, |subcommand| position(subcommand, Program::Prefect));
        } else if is_python(name) {
            let module = options(rest, &["-X", "-W"]);
            let module_at = rest.iter().position(|t| t == "-m").filter(|m| *m <= module).map(|m| at + 2 + m);
            match module_at.and_then(|m| Some((m, &**tokens.get(m)?))) {
                Some((m, "prefect" | "prefect.cli")) => {
                    self.prefect(tokens, m + 1, |subcommand| position(subcommand, Program::PythonModule));
                }
                Some((m, _)) if serves_prefect(&tokens[m..]) => {
                    self.found(Action::Serve, false, None, position(at, Program::AsgiModule));
                }
                _ => {}
            }
        } else if serves_prefect(rest) {
            self.found(Action::Serve, false, None, position(at, Program::Asgi));
        } else if !prints_only(name) {
            self.behind_unknown_wrapper(tokens, at, level, in_runner);
        }
    }

    /// `wait-for-it db:5432 -- prefect server start`: an unknown program that is given a Prefect call to run.
    fn behind_unknown_wrapper(&mut self, tokens: &[Cow<'a, str>], at: usize, level: Level, in_runner: bool) {
        let inner =
            tokens[at + 1..].iter().position(|token| basename(token) == "prefect").map(|i| at + 1 + i);
        match inner {
            Some(inner) => self.program(tokens, inner, level, in_runner),
            None if basename(&tokens[at]).ends_with(".sh") => self.invocation.unreadable = true,
            None => {}
        }
    }

    /// The sub-command after `prefect` and its global options.
    fn prefect(
        &mut self,
        tokens: &[Cow<'a, str>],
        mut at: usize,
        position: impl Fn(usize) -> Option<Position>,
    ) {
        let mut profile = None;
        while let Some(token) = tokens.get(at).filter(|token| token.starts_with('-')) {
            if matches!(&**token, "--profile" | "-p") {
                profile = tokens.get(at + 1).map(|name| name.to_string());
                at += 1;
            } else if let Some(name) = token.strip_prefix("--profile=") {
                profile = Some(name.to_owned());
            }
            at += 1;
        }
        let words: Vec<&str> =
            tokens.iter().skip(at).map(|t| &**t).filter(|t| !t.starts_with('-')).take(3).collect();
        let action = match words.as_slice() {
            ["server" | "orion", "start", ..] => Action::Serve,
            ["server", "services", "start", ..] => Action::Services,
            ["server" | "orion", "database", "upgrade", ..] => Action::Upgrade,
            ["server" | "orion", "database", "reset", ..] => Action::Reset,
            ["server" | "orion", "database", "downgrade", ..] => Action::Downgrade,
            ["server" | "orion", "database", ..] => Action::OtherDatabase,
            ["config", "set", ..] => return self.config_set(&tokens[at..]),
            _ => return,
        };
        self.found(action, words[0] == "orion", profile, position(at));
    }

    /// `prefect config set NAME=VALUE …`
    fn config_set(&mut self, tokens: &[Cow<'a, str>]) {
        for token in tokens.iter().skip(2).filter(|token| is_assignment(token)) {
            if let Some((name, value)) = token.split_once('=') {
                let value = self.expand(value);
                self.invocation.profile_settings.push((name.to_owned(), value));
            }
        }
    }

    fn found(&mut self, action: Action, orion: bool, profile: Option<String>, position: Option<Position>) {
        let exports_before = self.invocation.exports.len();
        self.invocation.calls.push(Call { action, orion, position, profile, exports_before });
    }
}

/// How many leading tokens are options, those named in `takes_value` with their value; a closing `--` counts too.
fn options(tokens: &[Cow<'_, str>], takes_value: &[&str]) -> usize {
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if token == "--" {
            return at + 1;
        }
        if !token.starts_with('-') || token.len() < 2 {
            break;
        }
        at += 1 + usize::from(takes_value.contains(&&**token));
    }
    at.min(tokens.len())
}

/// How many tokens belong to `uv run …`, `conda run …` before the program.
fn runner(tokens: &[Cow<'_, str>]) -> usize {
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

fn is_python(name: &str) -> bool {
    let version = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy"));
    version.is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// Whether the arguments of an ASGI server name Prefect's application.
fn serves_prefect(tokens: &[Cow<'_, str>]) -> bool {
    tokens.iter().any(|token| {
        let app = token.rsplit('=').next().unwrap_or(token).trim_end_matches("()");
        matches!(app, "prefect.server.api.server:create_app" | "prefect.orion.api.server:create_app")
    })
}

/// Programs that only talk about what they are given.
fn prints_only(name: &str) -> bool {
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
            | "kubectl"
            | "docker"
            | "git"
            | "curl"
            | "wget"
            | "logger"
            | "trap"
            | "alias"
            | "unset"
            | "set"
    )
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_assignment(token: &str) -> bool {
    token.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(is_name_char)
    })
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
