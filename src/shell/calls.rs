//! The Prefect calls themselves: which sub-command, in which environment, and where they stand.

use std::sync::Arc;

use crate::shell::command::{Action, Call, Position, Program};
use crate::shell::lexer::UNKNOWN;
use crate::shell::reader::{Level, Line, Reader, Token};
use crate::shell::words::{basename, is_assignment, is_packaged_prefect, only_talks_of_it};

impl Reader<'_> {
    pub(super) fn module(&mut self, line: Line<'_, '_>, at: usize, action: Action) {
        let position = Position {
            program: at,
            subcommand: at,
            in_runner: line.in_runner,
            program_kind: Program::AsgiModule,
        };
        self.found(action, false, None, (line.level == Level::Argv).then_some(position));
    }

    /// An ASGI server with Prefect's application.
    pub(super) fn asgi(&mut self, line: Line<'_, '_>, at: usize) {
        let (program, program_kind) = match line.tokens[at - usize::from(at > 0)].as_ref() {
            "-m" | "--module" if line.in_runner => (at - 1, Program::RunnerModule),
            _ => (at, Program::Asgi),
        };
        let position = Position { program, subcommand: at, in_runner: line.in_runner, program_kind };
        self.found(Action::Serve, false, None, (line.level == Level::Argv).then_some(position));
    }

    /// Prefect's command at `at`, run by the program at `runner` (which may be Prefect itself).
    pub(super) fn prefect_at(&mut self, line: Line<'_, '_>, runner: usize, at: usize) {
        let tokens = line.tokens;
        let as_module = at > 0 && matches!(&*tokens[at - 1], "-m" | "--module");
        let (program, program_kind) = match () {
            () if as_module && line.in_runner => (at - 1, Program::RunnerModule),
            () if as_module => (runner, Program::Asgi),
            () if is_packaged_prefect(&tokens[at]) => (at, Program::Packaged),
            () if matches!(basename(&tokens[runner]), "uvx" | "pipx")
                || line.in_runner && tokens[..at].iter().any(|token| token == "tool") =>
            {
                (at, Program::Packaged)
            }
            () => (at, Program::Prefect),
        };
        // `start-stop-daemon --exec PATH -- …` takes one path, and nothing can be put before it.
        let movable = basename(&tokens[runner]) != "start-stop-daemon";
        let level = if movable { line.level } else { Level::Script };
        self.prefect(Line { level, ..line }, at + 1, |subcommand| Position {
            program,
            subcommand,
            in_runner: line.in_runner,
            program_kind,
        });
    }

    /// The sub-command after `prefect`. Global options may stand before, between and after its words.
    pub(super) fn prefect(&mut self, line: Line<'_, '_>, from: usize, position: impl Fn(usize) -> Position) {
        let tokens = line.tokens;
        let mut profile = None;
        let mut words: Vec<&str> = Vec::new();
        let mut first = None;
        let mut at = from;
        while let Some(token) = tokens.get(at)
            && self.budget.step(1)
        {
            if token == "--profile" || token == "-p" && words.is_empty() {
                at += 1;
                profile = tokens.get(at).map(|name| name.to_string());
            } else if let Some(name) = token.strip_prefix("--profile=") {
                profile = Some(name.to_owned());
            } else if !token.starts_with('-') && words.len() < 3 {
                first.get_or_insert(at);
                words.push(token);
            }
            at += 1;
        }
        let first = first.unwrap_or(from.min(tokens.len()));
        let unknown = |word: &&str| word.contains(UNKNOWN) || word.contains('{') && word.contains(',');
        // A word that cannot be read may also be none, or an option.
        let readable: Vec<&str> = words.iter().copied().filter(|word| !unknown(word)).collect();
        let rest = &tokens[first..];
        let action = match readable.as_slice() {
            ["server" | "orion", "start", ..] => Action::Serve,
            ["server", "services", "start" | "enable" | "manager", ..] => Action::Services,
            ["server" | "orion", "database", "upgrade", ..] if only_talks_of_it(rest) => {
                Action::OtherDatabase
            }
            ["server" | "orion", "database", "upgrade", ..] => Action::Upgrade,
            ["server" | "orion", "database", "reset", ..] => Action::Reset,
            ["server" | "orion", "database", "downgrade", ..] => Action::Downgrade,
            ["config", "set", ..] => return self.config_set(rest),
            _ if words.iter().any(unknown) => {
                self.invocation.undecided |= readable.first().is_none_or(|word| may_lead_to_a_server(word));
                return;
            }
            ["server" | "orion", "database", ..] => Action::OtherDatabase,
            _ => return,
        };
        let position = (line.level == Level::Argv).then(|| position(first));
        self.found(action, readable[0] == "orion", profile, position);
    }

    /// `prefect config set NAME=VALUE …`
    fn config_set(&mut self, tokens: &[Token<'_>]) {
        for token in tokens.iter().skip(2).filter(|token| is_assignment(token)) {
            if let Some((name, value)) = token.split_once('=') {
                let value = (!value.contains(UNKNOWN)).then(|| value.to_owned());
                self.invocation.profile_settings.push((name.to_owned(), value));
            }
        }
    }

    fn found(&mut self, action: Action, orion: bool, profile: Option<String>, position: Option<Position>) {
        let action = if action == Action::Upgrade && self.script.failure_is_lost {
            Action::OtherDatabase
        } else {
            action
        };
        let Some(changes) = self.changes.seen(self.budget) else {
            self.invocation.unreadable = true;
            self.invocation.opaque_exports = true;
            let changes = Arc::default();
            self.invocation.calls.push(Call { action, orion, position, profile, changes, elsewhere: false });
            return;
        };
        let call = Call { action, orion, position, profile, changes, elsewhere: false };
        // A script may say the same a thousand times.
        if self.invocation.calls.last() != Some(&call) {
            self.invocation.calls.push(call);
        }
    }
}

/// Whether a sub-command that begins so may be one that matters: a worker is none.
fn may_lead_to_a_server(word: &str) -> bool {
    matches!(word, "server" | "orion" | "start" | "services" | "database")
}
