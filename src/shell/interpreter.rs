//! Reads an argv word by word, through wrappers, runners and shell strings, down to its Prefect calls.
//!
//! The parts that read scripts, variables and the calls themselves are in files of their own; what they share is the
//! [`Interpreter`].

use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use crate::shell::budget::Budget;
use crate::shell::changes::{Change, Changes};
use crate::shell::command::{Call, Invocation, Position, Preparation, Program, Whereabouts};
use crate::shell::command_names::CommandNames;
use crate::shell::options::{
    Python, has_option, is_entrypoint, is_prefect, options, python, runner, serves_prefect,
};
use crate::shell::programs::{self, Effect, Kind, Scripts, Wrapper};
use crate::shell::syntax::Item;
use crate::shell::word::Word;

/// What the manifest says of an environment variable of the container.
pub enum Known {
    /// Its value.
    Value(String),
    /// It may be set; the manifest does not show to what.
    Hidden,
    /// The manifest does not set it. The image may.
    Unset,
}

/// Where the words come from: the container's own argv, or a shell script in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// The container's own argv.
    Argv,
    /// A script; `start` is where the command begins in it, for one that stands in no branch, group or function.
    Script { start: Option<usize> },
}

/// How deep scripts, functions and wrappers that are read anew may nest.
pub(super) const MAX_DEPTH: usize = 12;

/// What is known while a command line is read.
pub(super) struct Interpreter<'l> {
    pub(super) invocation: Invocation,
    pub(super) lookup: &'l dyn Fn(&str) -> Known,
    pub(super) budget: &'l Budget,
    pub(super) changes: Changes,
    pub(super) depth: usize,
    pub(super) scope: Scope,
    /// Functions and aliases.
    pub(super) functions: Vec<Function>,
    /// `export NAME` before there is a value.
    pub(super) exported: BTreeSet<String>,
    /// What the last command printed, where that is plain: `echo start`.
    pub(super) printed: Option<Vec<Word>>,
    /// The same, for the command that it is piped into.
    pub(super) piped: Option<Vec<Word>>,
    /// Words are read for a condition: only what is certain counts.
    pub(super) strict: bool,
    /// The script of the container's argv that is being read.
    pub(super) source: Option<Rc<str>>,
    /// What the script has done so far.
    pub(super) preparation: Preparation,
    /// How the names of Prefect's commands are compared.
    pub(super) names: CommandNames,
    /// Programs that fill the environment, beside those of the table.
    pub(super) fillers: &'l [String],
}

/// What a subshell has for itself: it is what it was again when that ends.
#[derive(Clone, Default)]
pub(super) struct Scope {
    /// `$0`, `$1`…
    pub arguments: Arguments,
    /// `set -a`: what is assigned is exported.
    pub exports_all: bool,
    /// `set -e`: what fails ends the script.
    pub stops_on_error: bool,
    /// The command that is being read may not be run: it stands in a branch, or behind `&&`.
    pub maybe: bool,
    /// It may be run more than once.
    pub repeats: bool,
    /// It may fail and nobody would know: `… || true`, `… &`.
    pub failure_is_lost: bool,
    /// How the last command ended, where that is plain: `true`, `false`, `[ a = b ]`.
    pub status: Option<bool>,
    /// Variables whose value may be another, since what set it may not have been run.
    pub doubted: Rc<BTreeSet<String>>,
    /// What decides which program a word finds.
    pub whereabouts: Whereabouts,
    /// The words of the container's argv that are the shell and its script.
    pub source: Option<(usize, usize)>,
    /// Something is piped or redirected into what is read: it may answer a question.
    pub answered: bool,
}

/// The arguments of a script or a function.
#[derive(Clone, Default)]
pub(super) struct Arguments {
    pub words: Rc<[Word]>,
    /// They may be others: a `shift` may not have been run.
    pub doubted: bool,
}

impl Scope {
    /// Sets the arguments of a script or a function; gives those of what calls it.
    pub(super) fn replace_arguments(&mut self, words: Rc<[Word]>) -> Arguments {
        let doubted = self.arguments.doubted && *words == *self.arguments.words;
        std::mem::replace(&mut self.arguments, Arguments { words, doubted })
    }
}

/// A function, or an alias.
pub(super) struct Function {
    pub name: String,
    pub items: Rc<[Item]>,
    pub body: Range<usize>,
    pub called: bool,
}

/// What the interpreter goes back to.
pub(super) struct Snapshot {
    changes: usize,
    scope: Scope,
}

/// What was found so far, for going back to it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Findings {
    calls: usize,
    unreadable: bool,
    opaque_exports: bool,
    undecided: bool,
}

/// What came of skipping one wrapper.
pub(super) enum Step {
    /// Go on reading at this index.
    At(usize),
    /// The same, and a runner sets the interpreter for what follows.
    InRunner(usize),
    /// It was read to its end.
    Read,
    /// This is no wrapper.
    Done,
}

/// The command that is being read: its words, and how they came about.
#[derive(Clone, Copy)]
pub(super) struct Line<'t> {
    pub words: &'t [Word],
    pub level: Level,
    pub in_runner: bool,
}

impl Interpreter<'_> {
    /// Reads one command from word `at` on.
    pub(super) fn command(&mut self, words: &[Word], at: usize, level: Level) {
        self.line(Line { words, level, in_runner: false }, at);
    }

    /// Where the interpreter stands.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { changes: self.changes.mark(), scope: self.scope.clone() }
    }

    /// Goes back to where it stood.
    pub(super) fn restore(&mut self, snapshot: Snapshot) {
        self.changes.back_to(snapshot.changes);
        self.scope = snapshot.scope;
    }

    fn findings(&self) -> Findings {
        let Invocation { calls, unreadable, opaque_exports, undecided, .. } = &self.invocation;
        let (calls, unreadable, opaque_exports) = (calls.len(), *unreadable, *opaque_exports);
        Findings { calls, unreadable, opaque_exports, undecided: *undecided }
    }

    /// Takes back what was found since; gives the calls among it.
    fn take_back(&mut self, findings: Findings) -> Vec<Call> {
        self.invocation.unreadable = findings.unreadable;
        self.invocation.opaque_exports = findings.opaque_exports;
        self.invocation.undecided = findings.undecided;
        self.invocation.calls.split_off(findings.calls)
    }

    fn line(&mut self, mut line: Line<'_>, mut at: usize) {
        if self.depth > MAX_DEPTH || !self.budget.step(1) {
            self.invocation.unreadable = true;
            return;
        }
        self.depth += 1;
        while at < line.words.len() && self.budget.step(1) {
            match self.wrapper(line, at) {
                Step::At(next) => at = next,
                Step::InRunner(next) => (at, line.in_runner) = (next, true),
                Step::Read => break,
                Step::Done => {
                    self.program(line, at);
                    break;
                }
            }
        }
        self.depth -= 1;
    }

    /// Skips one wrapper that runs the rest of its arguments.
    fn wrapper(&mut self, line: Line<'_>, at: usize) -> Step {
        let Line { words, level, .. } = line;
        let rest = &words[at + 1..];
        let name = words[at].name().unwrap_or_default();
        match programs::of(name).kind {
            Kind::Shell => {
                self.shell(line, at);
                Step::Read
            }
            Kind::Wrapper(wrapper) => self.wrapped(wrapper, words, at),
            Kind::Env => self.env(line, at + 1),
            Kind::Xargs => {
                Step::At(at + 1 + options(rest, &["-n", "-I", "-P", "-d", "-L", "-s", "-a", "-E", "-i"]))
            }
            Kind::Runner if rest.iter().any(|word| word.is("run")) => {
                let given = runner(rest);
                self.invocation.opaque_exports |= has_option(&rest[..given], &["--env-file"]);
                Step::InRunner(at + 1 + given)
            }
            _ if name == "newrelic-admin" && rest.first().is_some_and(|word| word.is("run-program")) => {
                Step::At(at + 2)
            }
            _ if is_entrypoint(name) && !rest.is_empty() => Step::At(at + 1),
            _ if words[at].is_assignment() && level != Level::Argv => Step::At(self.assignments(words, at)),
            _ => Step::Done,
        }
    }

    /// Skips a wrapper of the table at `at`.
    fn wrapped(&mut self, wrapper: Wrapper, words: &[Word], at: usize) -> Step {
        let rest = &words[at + 1..];
        let given = options(rest, wrapper.values);
        self.affect(wrapper.effect, &rest[..given]);
        let next = (at + 1 + given + wrapper.operands).min(words.len());
        Step::At(if wrapper.assigns { self.assignments(words, next) } else { next })
    }

    fn affect(&mut self, effect: Effect, given: &[Word]) {
        match effect {
            Effect::ClearsWith(wanted) if has_option(given, wanted) => self.changes.push(Change::Clear),
            Effect::DoubtWithout(kept) => {
                // `--preserve-env=PREFECT_…` says what it keeps.
                let listed = given.iter().any(|option| {
                    option.lead().starts_with("--preserve-env=") && option.contains("PREFECT_")
                });
                if !listed && !has_option(given, kept) {
                    self.changes.push(Change::Doubt);
                }
            }
            Effect::SetsWith(wanted) => self.invocation.opaque_exports |= has_option(given, wanted),
            Effect::ClearsWith(_) | Effect::None => {}
        }
    }

    /// Records leading `NAME=VALUE` words; returns the index after them.
    pub(super) fn assignments(&mut self, words: &[Word], mut at: usize) -> usize {
        while let Some(word) = words.get(at)
            && word.is_assignment()
            && self.budget.step(1)
        {
            self.set(word, true);
            at += 1;
        }
        at
    }

    /// Records `NAME=VALUE`.
    pub(super) fn set(&mut self, assignment: &Word, exported: bool) {
        if let Some(name) = assignment.assigned_name() {
            let value = assignment.assigned_value().known().map(str::to_owned);
            self.assign(name.to_owned(), value, exported);
        }
    }

    /// Records that a variable has this value, as far as it can be read.
    pub(super) fn assign(&mut self, name: String, value: Option<String>, exported: bool) {
        self.note(&name);
        self.scope.whereabouts.path_changed |= name == "PATH";
        self.changes.push(Change::Set { name, value, exported });
    }

    /// Notes whether the change of a variable that is read here is certain.
    pub(super) fn note(&mut self, name: &str) {
        if self.scope.maybe || self.scope.repeats {
            Rc::make_mut(&mut self.scope.doubted).insert(name.to_owned());
        } else if self.scope.doubted.contains(name) {
            Rc::make_mut(&mut self.scope.doubted).remove(name);
        }
    }

    /// `sh [options] -c SCRIPT [args]`, or `sh FILE`.
    fn shell(&mut self, line: Line<'_>, at: usize) {
        let words = line.words;
        let mut next = at + 1;
        let mut given = false;
        let mut stops_on_error = false;
        while let Some(word) = words.get(next) {
            let option = word.lead();
            if word.is("--") || !option.starts_with(['-', '+']) || option.len() < 2 {
                next += usize::from(word.is("--"));
                break;
            }
            let short = !option.starts_with("--");
            given |= short && option.contains('c');
            stops_on_error |= option.starts_with('-') && short && option.contains('e');
            let takes_value =
                short && option.ends_with(['o', 'O']) || word.is_one_of(&["--rcfile", "--init-file"]);
            next += 1 + usize::from(takes_value);
        }
        match words.get(next) {
            Some(script) if given => {
                self.invocation.shell = true;
                let outer = std::mem::replace(&mut self.scope.stops_on_error, stops_on_error);
                let source = (line.level == Level::Argv && script.known().is_some()).then_some((at, next));
                self.script_word(script, words[next + 1..].to_vec(), source);
                self.scope.stops_on_error = outer;
            }
            Some(file) if is_entrypoint(file.name_lead()) && next + 1 < words.len() => {
                self.line(line, next + 1);
            }
            // `sh /wait.sh db:5432 -- prefect server start`: most likely it runs what it is given.
            Some(_) => self.invocation.unreadable |= !self.behind(line, next),
            None => match self.piped.take() {
                // It reads what is piped into it.
                Some(piped) => {
                    let mut script = Word::default();
                    for word in piped {
                        script.append(word);
                        script.push(' ');
                    }
                    self.script_word(&script, Vec::new(), None);
                }
                None => self.invocation.unreadable |= line.level != Level::Argv,
            },
        }
    }

    /// Reads a word that is a script; `source` says where it stands in the container's argv.
    fn script_word(&mut self, script: &Word, arguments: Vec<Word>, source: Option<(usize, usize)>) {
        let outer = std::mem::replace(&mut self.scope.source, source);
        let script = script.as_script();
        if source.is_some() {
            self.source = Some(script.as_str().into());
        }
        self.read_script(&script, arguments);
        self.scope.source = outer;
    }

    /// The program itself, all wrappers gone.
    fn program(&mut self, line: Line<'_>, at: usize) {
        let Line { words, level, .. } = line;
        let rest = &words[at + 1..];
        let word = &words[at];
        let name = word.name().unwrap_or_default();
        let kind = programs::of(name).kind;
        if is_prefect(word) {
            // `pixi run -e prefect prefect server start`: where an option's value was taken for the program.
            let named = words[at..].iter().take_while(|word| is_prefect(word)).count();
            self.prefect_at(line, at, at + named - 1);
        } else if kind == Kind::Python {
            self.python(line, at);
        } else if kind == Kind::Asgi && serves_prefect(rest) {
            self.asgi(line, at);
        } else if kind == Kind::Elsewhere {
            self.elsewhere(line, at);
        } else if word.names_unknown() || word.lead().starts_with("$(") {
            self.invocation.unreadable = true;
            // A word of its own may be `export`.
            self.invocation.opaque_exports |= level != Level::Argv && word.is_unknown();
            self.behind(line, at);
        } else if kind != Kind::Quiet {
            self.invocation.opaque_exports |= self.fills_environment(name, kind, rest);
            let found = self.behind(line, at);
            if !found && serves_prefect(rest) {
                self.asgi(line, at);
            } else if !found {
                self.invocation.unreadable |= name.ends_with(".sh");
            }
        }
    }

    fn python(&mut self, line: Line<'_>, at: usize) {
        let rest = &line.words[at + 1..];
        let Some(Python { runs, next }) = python(rest) else { return };
        let module = at + next;
        if matches!(runs, "prefect" | "prefect.cli" | "prefect.__main__") {
            let kind = Program::PythonModule;
            self.prefect(
                line,
                at + 1 + next,
                Position { program: at, subcommand: at, in_runner: line.in_runner, program_kind: kind },
            );
        } else if programs::of(runs).kind == Kind::Runner {
            self.line(line, module);
        } else if let kind @ Kind::Filler(_) = programs::of(runs).kind {
            // `python -m dotenv run -- prefect server start`: it runs another program.
            self.invocation.opaque_exports |= self.fills_environment(runs, kind, &rest[next..]);
            self.behind(line, module);
        } else if serves_prefect(&rest[next..]) {
            self.module(line, at);
        } else {
            // `python -m debugpy … prefect server start`: what it runs, this Python runs.
            let before = self.invocation.calls.len();
            let found = self.behind(line, module);
            for call in &mut self.invocation.calls[before..] {
                if let Some(position) = &mut call.position {
                    let program_kind = Program::AsgiModule;
                    *position = Position { program: at, subcommand: at, program_kind, ..*position };
                }
            }
            self.invocation.unreadable |= !found && runs.ends_with(".py");
        }
    }

    /// What `kubectl exec` starts is no server of this pod; what it destroys is gone all the same.
    fn elsewhere(&mut self, line: Line<'_>, at: usize) {
        let findings = self.findings();
        let snapshot = self.snapshot();
        self.behind(Line { level: Level::Script { start: None }, ..line }, at);
        let started = self.take_back(findings);
        self.restore(snapshot);
        let destroying = started.into_iter().filter(|call| call.action.destroys());
        self.invocation.calls.extend(destroying.map(|call| Call { elsewhere: true, ..call }));
    }

    /// `wait-for-it db:5432 -- prefect server start`: an unknown program at `at` that is given something to run.
    /// Every word that could begin it is tried, until one yields a call. Says whether anything was found.
    fn behind(&mut self, line: Line<'_>, at: usize) -> bool {
        if self.depth > MAX_DEPTH {
            self.invocation.unreadable = true;
            return true;
        }
        self.depth += 1;
        let found = self.any_behind(line, at);
        self.depth -= 1;
        found
    }

    fn any_behind(&mut self, line: Line<'_>, at: usize) -> bool {
        let words = line.words;
        let program = programs::of(words[at].name().unwrap_or_default());
        if program.scripts == Scripts::Option && self.script_option(words, at) {
            return true;
        }
        // What the program itself may do to the environment is nothing that was found.
        let seen = |reader: &Self| Findings { opaque_exports: false, ..reader.findings() };
        let before = seen(self);
        let serves = serves_prefect(&words[at + 1..]);
        for next in at + 1..words.len() {
            if !self.budget.step(1) {
                self.invocation.unreadable = true;
                return true;
            }
            let word = &words[next];
            let rest = &words[next + 1..];
            let kind = programs::of(word.name().unwrap_or_default()).kind;
            if word.is("--") && next + 1 < words.len() {
                self.line(line, next + 1);
                return seen(self) != before || self.quoted_script(words, at);
            } else if is_prefect(word) {
                self.prefect_at(line, at, next);
            } else if kind == Kind::Shell
                && rest.first().is_some_and(|word| word.lead().starts_with(['-', '+']) && !word.is("--"))
            {
                self.shell(line, next);
            } else if matches!(kind, Kind::Env | Kind::Python) || serves && kind == Kind::Asgi {
                self.line(line, next);
            } else if kind == Kind::Elsewhere && program.kind != Kind::Elsewhere {
                self.elsewhere(line, next);
                return true;
            }
            if seen(self) != before {
                return true;
            }
        }
        self.quoted_script(words, at)
    }

    /// `su -c SCRIPT`: the script that such a program is given with an option.
    fn script_option(&mut self, words: &[Word], at: usize) -> bool {
        let mut script = None;
        let mut login = false;
        let mut given = words.iter().enumerate().skip(at + 1);
        while let Some((index, word)) = given.next() {
            let option = word.lead();
            let short = option.starts_with('-') && !option.starts_with("--");
            login |= word.is_one_of(&["-", "--login"]) || short && option.contains('l');
            if script.is_some() {
                // `su -c SCRIPT - app`: the login may come later.
                continue;
            } else if let Some(attached) = word.strip_prefix("--command=") {
                script = Some(attached);
            } else if word.is_one_of(&["--command", "-Command"]) || short && option.ends_with('c') {
                script = words.get(index + 1).cloned();
                given.next();
            }
            if word.is("--") {
                break;
            }
        }
        if programs::of(words[at].name().unwrap_or_default()).kind == Kind::Switch && login {
            let keeps = |word: &Word| word.is("-w") || word.lead().starts_with("--whitelist-environment");
            let clears = !words[at + 1..].iter().any(keeps);
            self.changes.push(if clears { Change::Clear } else { Change::Doubt });
        }
        let Some(script) = script else { return false };
        self.script_word(&script, Vec::new(), None);
        true
    }

    /// A word with blanks in it may be a script: read where the program runs such words, else only noted.
    fn quoted_script(&mut self, words: &[Word], at: usize) -> bool {
        let program = programs::of(words[at].name().unwrap_or_default());
        let findings = self.findings();
        let snapshot = self.snapshot();
        for script in words[at + 1..].iter().filter(|word| word.contains("prefect") && word.has_blanks()) {
            self.script_word(script, Vec::new(), None);
        }
        self.restore(snapshot);
        let found = self.invocation.calls.len() > findings.calls;
        if program.scripts != Scripts::Words && program.kind != Kind::Elsewhere {
            self.take_back(findings);
            self.invocation.undecided |= found;
        }
        found
    }

    /// Whether a program fills the environment of what it runs from where we do not see: by the table or the policy,
    /// or since it is called as such programs are, `PROGRAM … run|exec … -- COMMAND`.
    fn fills_environment(&self, name: &str, kind: Kind, words: &[Word]) -> bool {
        let own = words.iter().position(|word| word.is("--"));
        // A verb may stand behind global options and their values.
        let says =
            |verbs: &[&str]| words[..own.unwrap_or(words.len())].iter().any(|word| word.is_one_of(verbs));
        match kind {
            Kind::Filler(verbs) => verbs.is_empty() || says(verbs),
            _ if self.fillers.iter().any(|filler| filler == name) => true,
            Kind::Other => own.is_some() && says(&["run", "exec"]),
            _ => false,
        }
    }
}
