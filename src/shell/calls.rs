//! The Prefect calls themselves: which sub-command, in which environment, and where they stand.

use std::sync::Arc;

use crate::shell::command::{Action, Call, Failure, InScript, Position, Program};
use crate::shell::command_names::{self, Named, may_lead_to_a_server};
use crate::shell::interpreter::{Interpreter, Level, Line};
use crate::shell::options::is_packaged_prefect;
use crate::shell::upgrade::{self, Upgrade};
use crate::shell::word::Word;

/// A Prefect call that was found, before what is known of the place where it stands is added.
struct Found {
    action: Action,
    orion: bool,
    profile: Option<Word>,
    position: Position,
    /// The words by which Prefect is called.
    words: Vec<Word>,
    failure: Option<Failure>,
}

impl Interpreter<'_> {
    /// `python -m uvicorn …`, by the Python at `at`.
    pub(super) fn module(&mut self, line: Line<'_>, at: usize) {
        let words = vec![line.words[at].clone(), Word::from("-m"), Word::from("prefect")];
        self.serves(line, words, at, at, Program::AsgiModule);
    }

    /// An ASGI server with Prefect's application.
    pub(super) fn asgi(&mut self, line: Line<'_>, at: usize) {
        let as_module = at > 0 && line.words[at - 1].is_one_of(&["-m", "--module"]);
        let (program, kind) = match as_module && line.in_runner {
            true => (at - 1, Program::RunnerModule),
            false => (at, Program::Asgi),
        };
        self.serves(line, vec![line.words[at].sibling("prefect")], program, at, kind);
    }

    fn serves(&mut self, line: Line<'_>, words: Vec<Word>, program: usize, subcommand: usize, kind: Program) {
        let position = Position { program, subcommand, in_runner: line.in_runner, program_kind: kind };
        self.found(
            line,
            Found { action: Action::Serve, orion: false, profile: None, position, words, failure: None },
        );
    }

    /// Prefect's command at `at`, run by the program at `runner` (which may be Prefect itself).
    pub(super) fn prefect_at(&mut self, line: Line<'_>, runner: usize, at: usize) {
        let words = line.words;
        let as_module = at > 0 && words[at - 1].is_one_of(&["-m", "--module"]);
        let runner_name = words[runner].name().unwrap_or_default();
        let (program, program_kind) = match () {
            () if as_module && line.in_runner => (at - 1, Program::RunnerModule),
            () if as_module => (runner, Program::Asgi),
            () if is_packaged_prefect(&words[at]) => (at, Program::Packaged),
            () if matches!(runner_name, "uvx" | "pipx")
                || line.in_runner && words[..at].iter().any(|word| word.is("tool")) =>
            {
                (at, Program::Packaged)
            }
            () => (at, Program::Prefect),
        };
        // `start-stop-daemon --exec PATH -- …` takes one path, and nothing can be put before it.
        let movable = runner_name != "start-stop-daemon";
        let level = if movable { line.level } else { Level::Script { start: None } };
        let position = Position { program, subcommand: at, in_runner: line.in_runner, program_kind };
        self.prefect(Line { level, ..line }, at + 1, position);
    }

    /// The sub-command after `prefect`, from the word at `from` on. Global options may stand before, between and
    /// after its words.
    pub(super) fn prefect(&mut self, line: Line<'_>, from: usize, position: Position) {
        let given = line.words;
        self.invocation.calls_prefect = true;
        let mut profile = None;
        let mut words: Vec<&Word> = Vec::new();
        let mut first = None;
        let mut at = from;
        while let Some(word) = given.get(at)
            && self.budget.step(1)
        {
            if word.is("--profile") || word.is("-p") && words.is_empty() {
                at += 1;
                profile = given.get(at).cloned();
            } else if let Some(name) = word.strip_prefix("--profile=") {
                profile = Some(name);
            } else if !word.lead().starts_with('-') && words.len() < 3 {
                first.get_or_insert(at);
                words.push(word);
            }
            at += 1;
        }
        let first = first.unwrap_or(from.min(given.len()));
        // A word that cannot be read may also be none, or an option.
        let readable: Vec<String> = words
            .iter()
            .filter(|word| !word.is_brace_list())
            .filter_map(|word| Some(self.names.read(word.known()?)))
            .collect();
        let names: Vec<&str> = readable.iter().map(String::as_str).collect();
        let hides = names.len() < words.len();
        let (action, failure) = match command_names::find(&names) {
            Named::ConfigSet => return self.config_set(&given[first..]),
            Named::Action(action) => (action, None),
            Named::Upgrade => {
                // The words behind the name; global options may stand between those of the name.
                let last =
                    words.get(2).and_then(|last| given.iter().position(|word| std::ptr::eq(word, *last)));
                match upgrade::read(&given[last.map_or(given.len(), |last| last + 1)..], self.scope.answered)
                {
                    Upgrade::Migrates => (Action::Upgrade, None),
                    Upgrade::StopsShort => (Action::OtherDatabase, None),
                    Upgrade::Fails(failure) => (Action::BrokenUpgrade, Some(failure)),
                }
            }
            _ if hides => {
                self.invocation.undecided |= names.first().is_none_or(|word| may_lead_to_a_server(word));
                return;
            }
            Named::NoSuchUpgrade(_)
                if given[first..].iter().any(|word| word.is_one_of(&["--help", "-h"])) =>
            {
                return;
            }
            Named::NoSuchUpgrade(named) => {
                let words: Vec<&str> = words[..named].iter().filter_map(|word| word.known()).collect();
                let words = crate::text::clip(&words.join(" "), 60);
                (Action::BrokenUpgrade, Some(Failure::NoSuchCommand(words)))
            }
            Named::Database => (Action::OtherDatabase, None),
            Named::Other => return,
        };
        let words = match position.program_kind {
            Program::PythonModule => {
                vec![given[position.program].clone(), Word::from("-m"), Word::from("prefect")]
            }
            _ => vec![given[position.subcommand].clone()],
        };
        let orion = names[0] == "orion";
        let position = Position { subcommand: first, ..position };
        self.found(line, Found { action, orion, profile, position, words, failure });
    }

    /// `prefect config set NAME=VALUE …`
    fn config_set(&mut self, words: &[Word]) {
        for word in words.iter().skip(2) {
            if let Some(name) = word.assigned_name() {
                let value = word.assigned_value().known().map(str::to_owned);
                self.invocation.profile_settings.push((name.to_owned(), value));
            }
        }
    }

    fn found(&mut self, line: Line<'_>, found: Found) {
        let Found { action, orion, profile, position, words, failure } = found;
        let (action, failure) = match action {
            Action::Upgrade | Action::BrokenUpgrade if self.scope.failure_is_lost => {
                (Action::OtherDatabase, None)
            }
            action => (action, failure),
        };
        let changes = self.changes.seen(self.budget).unwrap_or_else(|| {
            self.invocation.unreadable = true;
            self.invocation.opaque_exports = true;
            Arc::default()
        });
        let mut whereabouts = self.scope.whereabouts;
        whereabouts.in_runner |= position.in_runner;
        let options = match action {
            Action::Serve => line.words.get(position.subcommand..).unwrap_or_default().to_vec(),
            _ => Vec::new(),
        };
        let script = self.in_script(line, position.program);
        let call = Call {
            action,
            orion,
            position: (line.level == Level::Argv).then_some(position),
            profile,
            words,
            options,
            whereabouts,
            changes,
            failure,
            certain: !self.scope.maybe,
            script,
            preparation: self.preparation,
            elsewhere: false,
        };
        // A script may say the same a thousand times.
        if self.invocation.calls.last() != Some(&call) {
            self.invocation.calls.push(call);
        }
    }

    /// Where a call by the word at `program` stands in a script of the argv.
    fn in_script(&self, line: Line<'_>, program: usize) -> Option<InScript> {
        let (shell, script) = self.scope.source?;
        let start = match line.level {
            Level::Script { start } => start,
            Level::Argv => return None,
        };
        let text = self.source.as_deref()?;
        // What stands before the program in the same command (`A=b`, `gosu app`) is no text before the command.
        let alone = line.words[..program].iter().all(|word| word.is("exec"));
        let before = start.filter(|_| alone).and_then(|start| text.get(..start)).map(Arc::from);
        Some(InScript { shell, script, before })
    }
}
