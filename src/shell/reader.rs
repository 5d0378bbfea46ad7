//! Reads an argv token by token, through wrappers, runners and shell strings, down to its Prefect calls.

use std::borrow::Cow;

use crate::shell::budget::Budget;
use crate::shell::changes::{Change, Changes};
use crate::shell::command::{Action, Call, Invocation, Position, Program};
pub(crate) use crate::shell::lexer::UNKNOWN;
use crate::shell::script::Script;
use crate::shell::words::{
    Python, basename, is_assignment, is_prefect, is_python, is_shell, options, prints_only, python, runner,
    serves_prefect,
};
use crate::shell::wrappers::{self, Effect, has_option, wrapper};

/// What the manifest says of an environment variable of the container.
pub(crate) enum Known {
    /// Its value.
    Value(String),
    /// It may be set; the manifest does not show to what.
    Hidden,
    /// The manifest does not set it. The image may.
    Unset,
}

/// Reads an argv (command, then args). `lookup` gives the literal value of an environment variable, for `$VAR` in
/// a shell string.
pub fn read(argv: &[&str], lookup: &dyn Fn(&str) -> Option<String>) -> Invocation {
    let budget = Budget::of(argv.iter().map(|token| token.len()).sum());
    read_within(argv, &|name| lookup(name).map_or(Known::Unset, Known::Value), &budget)
}

/// The same within a budget that others spend from too.
pub(crate) fn read_within(argv: &[&str], lookup: &dyn Fn(&str) -> Known, budget: &Budget) -> Invocation {
    let mut reader = Reader {
        invocation: Invocation::default(),
        lookup,
        budget,
        changes: Changes::default(),
        depth: 0,
        script: Script::default(),
    };
    let tokens: Vec<Token<'_>> = argv.iter().map(|token| Cow::Borrowed(*token)).collect();
    reader.command(&tokens, 0, Level::Argv);
    reader.invocation.changes = reader.changes.seen(budget);
    // What is left unread may be anything.
    reader.invocation.unreadable |= budget.is_overdrawn();
    reader.invocation
}

/// A word of a command line.
pub(super) type Token<'a> = Cow<'a, str>;

/// Where the words come from: the container's own argv, or a shell script in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Argv,
    Script,
}

/// How deep scripts, functions and wrappers that are read anew may nest.
pub(super) const MAX_DEPTH: usize = 12;

pub(super) struct Reader<'l> {
    pub(super) invocation: Invocation,
    pub(super) lookup: &'l dyn Fn(&str) -> Known,
    pub(super) budget: &'l Budget,
    pub(super) changes: Changes,
    pub(super) depth: usize,
    /// What is known of the script that is being read.
    pub(super) script: Script,
}

/// What came of skipping one wrapper.
enum Step {
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
pub(super) struct Line<'t, 'a> {
    pub tokens: &'t [Token<'a>],
    pub level: Level,
    pub in_runner: bool,
}

impl Reader<'_> {
    /// Reads one command from token `at` on.
    pub(super) fn command(&mut self, tokens: &[Token<'_>], at: usize, level: Level) {
        self.line(Line { tokens, level, in_runner: false }, at);
    }

    fn line(&mut self, mut line: Line<'_, '_>, mut at: usize) {
        if self.depth > MAX_DEPTH || !self.budget.step(1) {
            self.invocation.unreadable = true;
            return;
        }
        self.depth += 1;
        while at < line.tokens.len() && self.budget.step(1) {
            if is_shell(basename(&line.tokens[at])) {
                self.shell(line, at);
                break;
            }
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
    fn wrapper(&mut self, line: Line<'_, '_>, at: usize) -> Step {
        let Line { tokens, level, .. } = line;
        let rest = &tokens[at + 1..];
        let name = basename(&tokens[at]);
        if let Some(known) = wrapper(name) {
            let given = options(rest, known.values);
            self.affect(known.effect, &rest[..given]);
            let next = (at + 1 + given + known.operands).min(tokens.len());
            return Step::At(if name == "sudo" { self.assignments(tokens, next) } else { next });
        }
        match name {
            "env" => self.env(line, at + 1),
            "xargs" => {
                Step::At(at + 1 + options(rest, &["-n", "-I", "-P", "-d", "-L", "-s", "-a", "-E", "-i"]))
            }
            "newrelic-admin" if rest.first().is_some_and(|t| t == "run-program") => Step::At(at + 2),
            _ if wrappers::is_runner(name) && rest.iter().any(|t| t == "run") => {
                let given = runner(rest);
                self.invocation.opaque_exports |= has_option(&rest[..given], &["--env-file"]);
                Step::InRunner(at + 1 + given)
            }
            name if name.ends_with("entrypoint.sh") && !rest.is_empty() => Step::At(at + 1),
            _ if is_assignment(&tokens[at]) && level == Level::Script => {
                Step::At(self.assignments(tokens, at))
            }
            _ => Step::Done,
        }
    }

    fn affect(&mut self, effect: Effect, given: &[Token<'_>]) {
        match effect {
            Effect::ClearsWith(wanted) if has_option(given, wanted) => self.changes.push(Change::Clear),
            Effect::DoubtWithout(kept) => {
                // `--preserve-env=PREFECT_…` says what it keeps.
                let listed = given.iter().any(|o| o.starts_with("--preserve-env=") && o.contains("PREFECT_"));
                if !listed && !has_option(given, kept) {
                    self.changes.push(Change::Doubt);
                }
            }
            Effect::SetsWith(wanted) => self.invocation.opaque_exports |= has_option(given, wanted),
            Effect::ClearsWith(_) | Effect::None => {}
        }
    }

    /// `env [-i] [-u NAME] [NAME=VALUE…] PROGRAM`, or `env -S 'STRING' …`, from the word after `env`.
    fn env(&mut self, line: Line<'_, '_>, mut at: usize) -> Step {
        let tokens = line.tokens;
        while let Some(token) = tokens.get(at).filter(|token| token.starts_with('-')) {
            at += 1;
            let next = || tokens.get(at).map(|value| &**value).unwrap_or_default();
            let (name, value) = token.split_once('=').unwrap_or((token, ""));
            match name {
                "--" => break,
                "-" | "--ignore-environment" => self.changes.push(Change::Clear),
                "--unset" => {
                    self.changes
                        .push(Change::Unset(if value.is_empty() { next() } else { value }.to_owned()));
                    at += usize::from(value.is_empty());
                }
                "--chdir" => at += usize::from(value.is_empty()),
                "--split-string" if value.is_empty() => {
                    return self.split_string(next(), &tokens[at..], true);
                }
                "--split-string" => return self.split_string(value, &tokens[at..], false),
                _ if name.starts_with("--") => {}
                _ => {
                    for (index, letter) in token.char_indices().skip(1) {
                        let attached = &token[index + letter.len_utf8()..];
                        let value = if attached.is_empty() { next() } else { attached };
                        match letter {
                            'i' => self.changes.push(Change::Clear),
                            'S' => return self.split_string(value, &tokens[at..], attached.is_empty()),
                            'u' => self.changes.push(Change::Unset(value.to_owned())),
                            'C' => {}
                            _ => continue,
                        }
                        if letter != 'i' {
                            at += usize::from(attached.is_empty());
                            break;
                        }
                    }
                }
            }
        }
        // `env $(cat FILE) prefect …`
        while tokens.get(at).is_some_and(|token| token.starts_with(UNKNOWN)) {
            self.invocation.opaque_exports = true;
            at += 1;
        }
        Step::At(self.assignments(tokens, at).min(tokens.len()))
    }

    /// The string of `env -S` is split into words, options of `env` among them.
    fn split_string(&mut self, script: &str, rest: &[Token<'_>], separate: bool) -> Step {
        let rest = rest.get(usize::from(separate)..).unwrap_or_default();
        if !self.budget.step(rest.len() + script.len() / 8) {
            self.invocation.unreadable = true;
            return Step::Read;
        }
        let words = shlex::split(script).unwrap_or_default();
        let words = words.into_iter().map(|word| if word.contains("${") { self.expand(&word) } else { word });
        let words: Vec<Token<'_>> = words.map(Cow::Owned).collect();
        let tokens: Vec<Token<'_>> =
            [Cow::Borrowed("env")].into_iter().chain(words).chain(rest.iter().cloned()).collect();
        self.command(&tokens, 0, Level::Script);
        Step::Read
    }

    /// Records leading `NAME=VALUE` tokens; returns the index after them.
    pub(super) fn assignments(&mut self, tokens: &[Token<'_>], mut at: usize) -> usize {
        while let Some(token) = tokens.get(at)
            && is_assignment(token)
            && self.budget.step(1)
        {
            self.set(token, true);
            at += 1;
        }
        at
    }

    /// Records `NAME=VALUE`.
    pub(super) fn set(&mut self, assignment: &str, exported: bool) {
        let Some((name, value)) = assignment.split_once('=') else { return };
        let value = (!value.contains(UNKNOWN)).then(|| value.to_owned());
        self.changes.push(Change::Set { name: name.to_owned(), value, exported });
    }

    /// `sh [options] -c SCRIPT [args]`, or `sh FILE`.
    fn shell(&mut self, line: Line<'_, '_>, at: usize) {
        let tokens = line.tokens;
        let mut next = at + 1;
        let mut given = false;
        let mut stops_on_error = false;
        while let Some(token) = tokens.get(next) {
            if token == "--" || !(token.starts_with('-') || token.starts_with('+')) || token.len() < 2 {
                next += usize::from(token == "--");
                break;
            }
            let short = !token.starts_with("--");
            given |= short && token.contains('c');
            stops_on_error |= token.starts_with('-') && short && token.contains('e');
            let takes_value = short && (token.ends_with('o') || token.ends_with('O'))
                || matches!(&**token, "--rcfile" | "--init-file");
            next += 1 + usize::from(takes_value);
        }
        match tokens.get(next) {
            Some(script) if given => {
                self.invocation.shell = true;
                let outer = std::mem::replace(&mut self.script.stops_on_error, stops_on_error);
                let arguments = tokens[next + 1..].iter().map(|token| token.to_string()).collect();
                self.read_script(script, arguments);
                self.script.stops_on_error = outer;
            }
            Some(file) if basename(file).ends_with("entrypoint.sh") && next + 1 < tokens.len() => {
                self.line(line, next + 1);
            }
            // `sh /wait.sh db:5432 -- prefect server start`: most likely it runs what it is given.
            Some(_) => {
                self.invocation.unreadable |= !self.behind(line, next);
            }
            None => match self.script.piped.take() {
                // It reads what is piped into it.
                Some(words) => self.read_script(&words.join(" "), Vec::new()),
                None => self.invocation.unreadable |= line.level == Level::Script,
            },
        }
    }

    /// The program itself, all wrappers gone.
    fn program(&mut self, line: Line<'_, '_>, at: usize) {
        let Line { tokens, level, .. } = line;
        let name = basename(&tokens[at]);
        let rest = &tokens[at + 1..];
        if is_prefect(&tokens[at]) {
            // `pixi run -e prefect prefect server start`: where an option's value was taken for the program.
            let named = tokens[at..].iter().take_while(|token| is_prefect(token)).count();
            self.prefect_at(line, at, at + named - 1);
        } else if is_python(name) {
            self.python(line, at);
        } else if wrappers::is_asgi_server(name) && serves_prefect(rest) {
            self.asgi(line, at);
        } else if wrappers::runs_elsewhere(name) {
            self.elsewhere(line, at);
        } else if name.starts_with(UNKNOWN) || tokens[at].starts_with("$(") {
            self.invocation.unreadable = true;
            // A word of its own may be `export`.
            self.invocation.opaque_exports |= level == Level::Script && name.chars().eq([UNKNOWN]);
            self.behind(line, at);
        } else if !prints_only(name) {
            self.invocation.opaque_exports |= wrappers::sets_variables(name, rest);
            let found = self.behind(line, at);
            if !found && serves_prefect(rest) {
                self.asgi(line, at);
            } else if !found {
                self.invocation.unreadable |= name.ends_with(".sh");
            }
        }
    }

    fn python(&mut self, line: Line<'_, '_>, at: usize) {
        let rest = &line.tokens[at + 1..];
        let Some(Python { runs, next }) = python(rest) else { return };
        let module = at + next;
        if matches!(runs, "prefect" | "prefect.cli" | "prefect.__main__") {
            self.prefect(line, at + 1 + next, |subcommand| Position {
                program: at,
                subcommand,
                in_runner: line.in_runner,
                program_kind: Program::PythonModule,
            });
        } else if wrappers::is_runner(runs) {
            self.line(line, module);
        } else if serves_prefect(&rest[next..]) {
            self.module(line, at, Action::Serve);
        } else {
            // `python -m debugpy … prefect server start`: what it runs, this Python runs.
            let before = self.invocation.calls.len();
            let found = self.behind(line, module);
            for call in &mut self.invocation.calls[before..] {
                if let Some(position) = &mut call.position {
                    *position = Position {
                        program: at,
                        subcommand: at,
                        program_kind: Program::AsgiModule,
                        ..*position
                    };
                }
            }
            self.invocation.unreadable |= !found && runs.ends_with(".py");
        }
    }

    /// What `kubectl exec` starts is no server of this pod; what it destroys is gone all the same.
    fn elsewhere(&mut self, line: Line<'_, '_>, at: usize) {
        let before = self.invocation.calls.len();
        let mark = self.changes.mark();
        let flags = (self.invocation.unreadable, self.invocation.opaque_exports, self.invocation.undecided);
        self.behind(Line { level: Level::Script, ..line }, at);
        (self.invocation.unreadable, self.invocation.opaque_exports, self.invocation.undecided) = flags;
        self.changes.back_to(mark);
        let started = self.invocation.calls.split_off(before);
        let destroying = started.into_iter().filter(|call| call.action.destroys());
        self.invocation.calls.extend(destroying.map(|call| Call { elsewhere: true, ..call }));
    }

    /// `wait-for-it db:5432 -- prefect server start`: an unknown program at `at` that is given something to run.
    /// Every word that could begin it is tried, until one yields a call. Says whether anything was found.
    fn behind(&mut self, line: Line<'_, '_>, at: usize) -> bool {
        if self.depth > MAX_DEPTH {
            self.invocation.unreadable = true;
            return true;
        }
        self.depth += 1;
        let found = self.any_behind(line, at);
        self.depth -= 1;
        found
    }

    fn any_behind(&mut self, line: Line<'_, '_>, at: usize) -> bool {
        let tokens = line.tokens;
        let name = basename(&tokens[at]);
        if wrappers::takes_script_option(name) && self.script_option(tokens, at) {
            return true;
        }
        let seen = |reader: &Self| {
            let invocation = &reader.invocation;
            (invocation.calls.len(), invocation.unreadable, invocation.undecided)
        };
        let before = seen(self);
        let serves = serves_prefect(&tokens[at + 1..]);
        for next in at + 1..tokens.len() {
            if !self.budget.step(1) {
                self.invocation.unreadable = true;
                return true;
            }
            let token = &*tokens[next];
            let word = basename(token);
            let rest = &tokens[next + 1..];
            if token == "--" && next + 1 < tokens.len() {
                self.line(line, next + 1);
                return seen(self) != before || self.quoted_script(tokens, at);
            } else if is_prefect(token) {
                self.prefect_at(line, at, next);
            } else if is_shell(word) && rest.first().is_some_and(|o| o.starts_with(['-', '+']) && *o != "--")
            {
                self.shell(line, next);
            } else if word == "env" || is_python(word) || serves && wrappers::is_asgi_server(word) {
                self.line(line, next);
            } else if wrappers::runs_elsewhere(word) && !wrappers::runs_elsewhere(name) {
                self.elsewhere(line, next);
                return true;
            }
            if seen(self) != before {
                return true;
            }
        }
        self.quoted_script(tokens, at)
    }

    /// `su -c SCRIPT`: the script that such a program is given with an option.
    fn script_option(&mut self, tokens: &[Token<'_>], at: usize) -> bool {
        let mut script = None;
        let mut login = false;
        let mut words = tokens.iter().enumerate().skip(at + 1);
        while let Some((index, token)) = words.next() {
            let short = token.starts_with('-') && !token.starts_with("--");
            login |= matches!(&**token, "-" | "--login") || short && token.contains('l');
            if script.is_some() {
                // `su -c SCRIPT - app`: the login may come later.
                continue;
            } else if let Some(attached) = token.strip_prefix("--command=") {
                script = Some(Cow::Borrowed(attached));
            } else if token == "--command" || token == "-Command" || short && token.ends_with('c') {
                script = tokens.get(index + 1).cloned();
                words.next();
            }
            if token == "--" {
                break;
            }
        }
        if wrappers::is_switch(basename(&tokens[at])) && login {
            let keeps = |token: &Token<'_>| token == "-w" || token.starts_with("--whitelist-environment");
            let clears = !tokens[at + 1..].iter().any(keeps);
            self.changes.push(if clears { Change::Clear } else { Change::Doubt });
        }
        let Some(script) = script else { return false };
        self.read_script(&script, Vec::new());
        true
    }

    /// A word with blanks in it may be a script: read where the program runs such words, else only noted.
    fn quoted_script(&mut self, tokens: &[Token<'_>], at: usize) -> bool {
        let name = basename(&tokens[at]);
        let is_script = |token: &&Token<'_>| token.contains("prefect") && token.contains(char::is_whitespace);
        let before = self.invocation.calls.len();
        let mark = self.changes.mark();
        let flags = (self.invocation.unreadable, self.invocation.opaque_exports, self.invocation.undecided);
        for script in tokens[at + 1..].iter().filter(is_script) {
            self.read_script(script, Vec::new());
        }
        self.changes.back_to(mark);
        let found = self.invocation.calls.len() > before;
        if !wrappers::takes_scripts(name) && !wrappers::runs_elsewhere(name) {
            (self.invocation.unreadable, self.invocation.opaque_exports, self.invocation.undecided) = flags;
            self.invocation.calls.truncate(before);
            self.invocation.undecided |= found;
        }
        found
    }
}
