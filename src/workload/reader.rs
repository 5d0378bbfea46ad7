//! Reads an argv token by token, through wrappers, runners and shell strings, down to its Prefect calls.

use std::borrow::Cow;

use super::command::{Action, Call, Invocation, Position, Program};
use super::shell;
use super::words::{
    Python, basename, is_assignment, is_name_char, is_python, is_shell, only_talks_of_it, options,
    prints_only, python, runner, serves_prefect, split_string,
};

/// Reads an argv (command, then args). `lookup` gives the literal value of an environment variable, for `$VAR` in
/// a shell string.
pub fn read<'a>(argv: &[&'a str], lookup: &dyn Fn(&str) -> Option<String>) -> Invocation<'a> {
    let mut reader = Reader { invocation: Invocation::default(), lookup, depth: 0, arguments: Vec::new() };
    let tokens: Vec<Cow<'a, str>> = argv.iter().map(|token| Cow::Borrowed(*token)).collect();
    reader.command(&tokens, 0, Level::Argv);
    reader.invocation
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
    /// `$0`, `$1`… of the script that is being read.
    arguments: Vec<Cow<'a, str>>,
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
                return self.script(&script, self.arguments.clone());
            }
            if let Some((script, rest)) = split_string(name, &tokens[at + 1..]) {
                let words = shlex::split(script).unwrap_or_default().into_iter().map(Cow::Owned);
                let words: Vec<Cow<'a, str>> = words.chain(rest.iter().cloned()).collect();
                let start = self.assignments(&words, 0);
                return self.command(&words, start, Level::Script);
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
            let end = name.find(|c: char| !is_name_char(c)).unwrap_or(name.len());
            let (name, default) = name.split_at(end);
            let default = match default.strip_prefix(':').unwrap_or(default).strip_prefix(['-', '=']) {
                Some(default) => Some(default),
                None if default.is_empty() => None,
                None => return None,
            };
            if name.is_empty() {
                return None;
            }
            let value = self.variable(name).filter(|value| default.is_none() || !value.is_empty());
            out.push_str(&value.or(default.map(str::to_owned))?);
            rest = tail;
        }
        out.push_str(rest);
        Some(out)
    }

    /// The value of a variable as the script sees it so far.
    fn variable(&self, name: &str) -> Option<String> {
        if let Ok(index) = name.parse::<usize>() {
            return self.arguments.get(index).map(|argument| argument.to_string());
        }
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
                self.script(&script.clone(), tokens.get(next + 1..).unwrap_or_default().to_vec());
            }
            Some(file) if basename(file).ends_with("entrypoint.sh") && next + 1 < tokens.len() => {
                self.command(tokens, next + 1, level);
            }
            Some(_) => self.invocation.unreadable = true,
            // It reads what is piped into it.
            None => self.invocation.unreadable |= level == Level::Script,
        }
    }

    /// Reads a script; `arguments` are its `$0`, `$1`….
    fn script(&mut self, script: &str, arguments: Vec<Cow<'a, str>>) {
        if self.depth == MAX_DEPTH {
            self.invocation.unreadable = true;
            return;
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.arguments, arguments);
        let commands = shell::commands(script).unwrap_or_else(|| {
            self.invocation.unreadable = true;
            shell::rough_commands(script)
        });
        commands.into_iter().for_each(|words| self.simple_command(words));
        self.arguments = outer;
        self.depth -= 1;
    }

    /// One simple command of a script: variables put in, then read like an argv.
    fn simple_command(&mut self, words: Vec<String>) {
        if self.shell_builtin(&words) {
            return;
        }
        let mut tokens: Vec<Cow<'a, str>> = Vec::with_capacity(words.len());
        for word in words {
            let is_script =
                tokens.last().is_some_and(|before| before.starts_with('-') && before.ends_with('c'));
            if matches!(word.as_str(), "$@" | "$*" | "${@}") {
                tokens.extend(self.arguments.iter().skip(1).cloned());
            } else if word.contains('$') && !is_assignment(&word) {
                match self.expand(&word) {
                    // An unquoted variable is split into words. Whether it was quoted is not known any more; what
                    // follows `sh -c` or holds blanks of its own was.
                    Some(value)
                        if !is_script && (word.starts_with("${") || !word.contains(char::is_whitespace)) =>
                    {
                        tokens.extend(value.split_whitespace().map(|w| Cow::Owned(w.to_owned())));
                    }
                    Some(value) => tokens.push(Cow::Owned(value)),
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
            "trap" if words.len() > 2 => {
                self.script(&words[1], self.arguments.clone());
                true
            }
            "set" if words.iter().any(|word| word == "--") => {
                let arguments = words.iter().skip_while(|word| *word != "--").skip(1);
                let arguments: Vec<Cow<'a, str>> = arguments.map(|word| Cow::Owned(word.clone())).collect();
                self.arguments.truncate(1);
                self.arguments.resize(1, Cow::Borrowed("sh"));
                self.arguments.extend(arguments);
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
            match python(rest) {
                Some(Python { runs: "prefect" | "prefect.cli" | "prefect.__main__", next }) => {
                    let next = at + 1 + next;
                    self.prefect(tokens, next, |subcommand| position(subcommand, Program::PythonModule));
                }
                Some(Python { next, .. }) if serves_prefect(&rest[next..]) => {
                    self.found(Action::Serve, false, None, position(at, Program::AsgiModule));
                }
                Some(Python { runs, .. }) if runs.ends_with(".py") => self.invocation.unreadable = true,
                _ => {}
            }
        } else if serves_prefect(rest) {
            self.found(Action::Serve, false, None, position(at, Program::Asgi));
        } else if matches!(name, "kubectl" | "oc" | "docker" | "podman") {
            // What it starts elsewhere is no server of this pod; what it destroys elsewhere is gone all the same.
            let before = self.invocation.calls.len();
            self.behind_unknown_wrapper(tokens, at, Level::Script, in_runner);
            let started = self.invocation.calls.split_off(before);
            self.invocation.elsewhere |= before == 0;
            self.invocation.calls.extend(started.into_iter().filter(|call| call.action.destroys()));
        } else if name.starts_with('$') {
            self.invocation.unreadable = true;
        } else if !prints_only(name) {
            self.behind_unknown_wrapper(tokens, at, level, in_runner);
        }
    }

    /// `wait-for-it db:5432 -- prefect server start`: an unknown program that is given a Prefect call to run.
    fn behind_unknown_wrapper(&mut self, tokens: &[Cow<'a, str>], at: usize, level: Level, in_runner: bool) {
        if matches!(basename(&tokens[at]), "su" | "runuser" | "flock" | "script")
            && let Some(option) = tokens.iter().position(|token| token == "-c" || token == "--command")
            && let Some(script) = tokens.get(option + 1)
        {
            return self.script(&script.clone(), Vec::new());
        }
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
            ["server" | "orion", "database", "upgrade", ..] if only_talks_of_it(&tokens[at..]) => {
                Action::OtherDatabase
            }
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
