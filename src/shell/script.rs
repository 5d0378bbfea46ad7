//! Follows a shell script command by command: branches, functions and builtins, as far as they decide what is called.

use std::ops::Range;
use std::rc::Rc;

use crate::shell::conditions;
use crate::shell::interpreter::{Function, Interpreter, Level, MAX_DEPTH, Snapshot};
use crate::shell::lexer;
use crate::shell::preparation;
use crate::shell::syntax::{Branch, Command, Item, Nest, Operator};
use crate::shell::word::Word;

/// A branch or a loop that is open.
struct Frame {
    /// The `maybe` and `repeats` of what it stands in.
    outer: (bool, bool),
    /// Whether what it stands in is run at all.
    runs: bool,
    /// Whether a branch before was run; `None` where that is not known.
    taken: Option<bool>,
    /// What a `case` looks at.
    subject: Option<Word>,
}

/// Where a run through a script stands in its branches.
#[derive(Default)]
struct Frames {
    open: Vec<Frame>,
    /// What stands here is never run.
    idle: bool,
}

impl Interpreter<'_> {
    /// Reads a script; `arguments` are its `$0`, `$1`….
    pub(super) fn read_script(&mut self, script: &str, arguments: Vec<Word>) {
        if self.depth >= MAX_DEPTH || !self.budget.step(1 + arguments.len() + script.len() / 8) {
            self.invocation.unreadable = true;
            return;
        }
        self.depth += 1;
        let outer = self.scope.replace_arguments(arguments.into());
        let functions = self.functions.len();
        let items = lexer::items(script).unwrap_or_else(|| {
            self.invocation.unreadable = true;
            self.invocation.opaque_exports |= script.contains('=');
            lexer::rough_items(script)
        });
        let items: Rc<[Item]> = items.into();
        self.run(&items, 0..items.len());
        // What nobody calls by name may still be called: `"$1"`, a trap.
        for index in functions..self.functions.len() {
            let function = &mut self.functions[index];
            if !std::mem::replace(&mut function.called, true) {
                let (items, body) = (Rc::clone(&function.items), function.body.clone());
                self.perhaps(|interpreter| interpreter.run(&items, body));
            }
        }
        self.scope.arguments = outer;
        self.depth -= 1;
    }

    /// Reads more of the same script: `eval`, a trap.
    pub(super) fn read_more(&mut self, script: &str) {
        let source = self.scope.source.take();
        self.read_script(script, self.scope.arguments.words.to_vec());
        self.scope.source = source;
    }

    /// What is read may be run, or not, or more than once.
    pub(super) fn perhaps(&mut self, read: impl FnOnce(&mut Self)) {
        let outer = (self.scope.maybe, self.scope.repeats);
        (self.scope.maybe, self.scope.repeats) = (true, true);
        read(self);
        (self.scope.maybe, self.scope.repeats) = outer;
    }

    fn run(&mut self, items: &Rc<[Item]>, range: Range<usize>) {
        let mut nests: Vec<(Nest, Snapshot)> = Vec::new();
        let mut frames = Frames::default();
        let around = (self.scope.maybe, self.scope.repeats);
        let mut at = range.start;
        while at < range.end {
            if !self.budget.step(1) {
                self.invocation.unreadable = true;
                break;
            }
            match &items[at] {
                Item::Open(nest) => {
                    nests.push((*nest, self.snapshot()));
                    if *nest == Nest::Substitution {
                        self.scope.status = None;
                    }
                }
                Item::Close => {
                    if let Some((nest, snapshot)) = nests.pop() {
                        let status = self.scope.status;
                        self.restore(snapshot);
                        if nest == Nest::Subshell {
                            self.scope.status = status;
                        }
                    }
                }
                Item::Function { name, end } => {
                    let body = at + 1..*end;
                    if !frames.idle {
                        let items = Rc::clone(items);
                        self.functions.push(Function { name: name.clone(), items, body, called: false });
                    }
                    at = (*end).max(at + 1);
                    continue;
                }
                Item::Branch(branch) => self.branch(branch, &mut frames),
                Item::Command(_) if frames.idle => {}
                Item::Command(command) => {
                    let outer = self.scope.failure_is_lost;
                    self.scope.failure_is_lost |=
                        loses_failure(command, items.get(at + 1), self.scope.stops_on_error);
                    let ends = self.simple_command(command) && nests.is_empty();
                    self.scope.failure_is_lost = outer;
                    if ends {
                        break;
                    }
                }
            }
            at += 1;
        }
        (self.scope.maybe, self.scope.repeats) = around;
    }

    /// Steps into, through or out of a branch.
    fn branch(&mut self, branch: &Branch, frames: &mut Frames) {
        match branch {
            Branch::If | Branch::Case(_) | Branch::While | Branch::For => {
                let outer = (self.scope.maybe, self.scope.repeats);
                let subject = match branch {
                    Branch::Case(word) if !frames.idle => Some(self.strictly(|reader| reader.expand(word))),
                    _ => None,
                };
                let runs = !frames.idle;
                frames.open.push(Frame { outer, runs, taken: Some(false), subject });
                self.scope.maybe |= *branch == Branch::While;
                self.scope.repeats |= matches!(branch, Branch::While | Branch::For);
                self.scope.status = None;
            }
            Branch::End | Branch::Done => {
                if let Some(frame) = frames.open.pop() {
                    (self.scope.maybe, self.scope.repeats) = frame.outer;
                    frames.idle = !frame.runs;
                }
                self.scope.status = None;
            }
            Branch::Then | Branch::Elif | Branch::Else | Branch::Patterns(_) | Branch::FallThrough => {
                let status = self.scope.status.take();
                let Some(frame) = frames.open.last_mut() else { return };
                let holds = match (branch, &frame.subject) {
                    (Branch::Then, _) => status,
                    (Branch::Patterns(patterns), Some(subject)) => {
                        let patterns = patterns.clone();
                        let subject = subject.clone();
                        let patterns: Vec<Word> =
                            patterns.iter().map(|word| self.strictly(|reader| reader.expand(word))).collect();
                        conditions::matches(&patterns, &subject)
                    }
                    (Branch::Patterns(_) | Branch::FallThrough, _) => None,
                    // A condition follows, or nothing decides but what came before.
                    _ => Some(true),
                };
                let Some(frame) = frames.open.last_mut() else { return };
                // `then` goes on where its condition was read: what came before it has been looked at.
                frames.idle = !frame.runs || frame.taken == Some(true) || holds == Some(false);
                self.scope.maybe = frame.outer.0 || frame.taken.is_none() || holds.is_none();
                if *branch == Branch::FallThrough {
                    (frame.taken, frame.subject) = (None, None);
                } else if *branch != Branch::Elif {
                    frame.taken = match (frame.taken, holds) {
                        (Some(true), _) => Some(true),
                        (Some(false), holds) => holds,
                        (None, Some(true)) => Some(true),
                        (None, _) => None,
                    };
                }
            }
        }
    }

    /// Reads words for a condition: only what is certain counts.
    fn strictly<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.strict, true);
        let read = read(self);
        self.strict = outer;
        read
    }

    /// One simple command of a script: variables put in, then read like an argv. Says whether the script ends here.
    fn simple_command(&mut self, command: &Command) -> bool {
        let before = self.scope.status.take();
        let never = match command.before {
            Operator::And => before == Some(false),
            Operator::Or => before == Some(true),
            _ => false,
        };
        if never {
            self.scope.status = before;
            return false;
        }
        let chained = matches!(command.before, Operator::And | Operator::Or);
        let (outer, outer_answered) = (self.scope.maybe, self.scope.answered);
        self.scope.answered |= command.input || command.before == Operator::Pipe;
        self.scope.maybe |= chained && before.is_none();
        let printed = self.printed.take().filter(|_| command.before == Operator::Pipe);
        let mut words = self.words(&command.words);
        if let Some(first) = words.first()
            && first.is_one_of(&["command", "builtin"])
            && words.len() > 1
            && !words[1].is_option()
        {
            words.remove(0);
        }
        let status = self.status(command, &words).map(|holds| holds != command.negated);
        let status = match (command.before, before, status) {
            (Operator::And, None, Some(true)) | (Operator::Or, None, Some(false)) => None,
            _ => status,
        };
        self.piped = printed.clone();
        self.pipes(&mut words, printed);
        if !self.builtin(&words) {
            let start = words.iter().take_while(|word| word.is_assignment()).count();
            let mark = self.changes.mark();
            self.assignments(&words, 0);
            if !self.call(&words[start..]) {
                self.command(&words, start, Level::Script { start: command.start });
                self.changes.back_to(mark);
            }
        }
        self.piped = None;
        self.scope.status = status;
        let ends = !self.scope.maybe && !self.scope.repeats && ends_script(command, &words);
        self.scope.maybe = outer;
        self.scope.answered = outer_answered;
        self.preparation = preparation::after(self.preparation, command, &words);
        ends
    }

    /// How a command ends, where that is plain.
    fn status(&mut self, command: &Command, words: &[Word]) -> Option<bool> {
        let name = words.first()?.known()?;
        if self.functions.iter().any(|function| function.name == name) {
            return None;
        }
        match name {
            "true" | ":" => Some(true),
            "false" => Some(false),
            "[" | "[[" | "test" => {
                let words = self.strictly(|reader| reader.words(&command.words));
                conditions::test(&words)
            }
            _ => None,
        }
    }

    /// What a command takes from the one before it in a pipe, and gives to the one behind it.
    fn pipes(&mut self, words: &mut Vec<Word>, printed: Option<Vec<Word>>) {
        match words.first().and_then(Word::known) {
            Some("echo") => {
                let said = words.iter().skip(1).filter(|word| !word.is_one_of(&["-n", "-e"]));
                self.printed = Some(said.cloned().collect());
            }
            Some("cat") if words.len() == 1 => self.printed = printed,
            Some("xargs") => {
                for word in printed.unwrap_or_else(|| vec![Word::unknown()]) {
                    match word.known() {
                        Some(text) => words.extend(text.split_whitespace().map(Word::from)),
                        None => words.push(word),
                    }
                }
            }
            _ => {}
        }
    }

    /// A function or an alias of the script. False when there is none of that name.
    fn call(&mut self, words: &[Word]) -> bool {
        let Some(name) = words.first() else { return false };
        if !self.budget.step(self.functions.len() / 8) {
            return false;
        }
        let Some(function) = self.functions.iter_mut().rev().find(|function| name.is(&function.name)) else {
            return false;
        };
        function.called = true;
        let (items, body) = (Rc::clone(&function.items), function.body.clone());
        if self.depth >= MAX_DEPTH || !self.budget.step(words.len()) {
            self.invocation.unreadable = true;
            return true;
        }
        let outer = self.scope.replace_arguments(words.into());
        self.depth += 1;
        self.run(&items, body);
        self.depth -= 1;
        self.scope.arguments = outer;
        true
    }
}

/// Whether nothing of the script is run behind a command that is run: `exec PROGRAM`, `exit`.
fn ends_script(command: &Command, words: &[Word]) -> bool {
    let alone = matches!(command.before, Operator::Sequence | Operator::And | Operator::Or)
        && matches!(command.after, Operator::Sequence | Operator::And)
        && !command.in_group;
    let first = |name: &str| words.first().is_some_and(|word| word.is(name));
    let program =
        || words.get(1).is_some_and(|word| !word.lead().is_empty() && !word.lead().starts_with(['-', '{']));
    alone && (first("exit") || first("exec") && program())
}

/// Whether the command may fail and the script goes on as if it had not.
fn loses_failure(command: &Command, next: Option<&Item>, stops_on_error: bool) -> bool {
    let follows = |next: &Command, operator: Operator, names: &[&str]| {
        let named = next.words.first().is_some_and(|word| word.is_one_of(names));
        next.before == operator && !next.grouped && named
    };
    match (command.after, next) {
        (Operator::Background, _) => true,
        (Operator::Or, Some(Item::Command(next))) => {
            follows(next, Operator::Or, &["true", ":", "echo", "printf"])
        }
        (Operator::Sequence, Some(Item::Command(next))) if !stops_on_error => {
            follows(next, Operator::Sequence, &["true", ":"])
                || matches!(next.words.as_slice(), [exit, zero] if exit.is("exit") && zero.is("0"))
        }
        _ => false,
    }
}
