//! Where reading a command line begins: an argv goes in, what it runs comes out.

use std::collections::BTreeSet;

use crate::shell::budget::Budget;
use crate::shell::changes::Changes;
use crate::shell::command::{Invocation, Preparation};
use crate::shell::command_names::CommandNames;
use crate::shell::interpreter::{Interpreter, Level, Scope};
use crate::shell::word::Word;

pub use crate::shell::interpreter::Known;

/// Reads an argv (command, then args). `lookup` gives the literal value of an environment variable, for `$VAR` in
/// a shell string.
pub fn read(argv: &[&str], lookup: &dyn Fn(&str) -> Option<String>) -> Invocation {
    read_as(CommandNames::Folded, argv, lookup)
}

/// The same with the names of Prefect's commands compared as wanted.
pub(crate) fn read_as(
    names: CommandNames,
    argv: &[&str],
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Invocation {
    let budget = Budget::of(argv.iter().map(|word| word.len()).sum());
    let words: Vec<Word> = argv.iter().map(|word| Word::from(*word)).collect();
    let lookup = |name: &str| lookup(name).map_or(Known::Unset, Known::Value);
    read_within(&words, &Surroundings { names, fillers: &[], lookup: &lookup }, &budget)
}

/// What decides how a command line is read, beside its words.
pub(crate) struct Surroundings<'s> {
    /// How the names of Prefect's commands are compared.
    pub names: CommandNames,
    /// Programs that fill the environment of what they run, beside the built-in ones.
    pub fillers: &'s [String],
    /// What the manifest says of a variable.
    pub lookup: &'s dyn Fn(&str) -> Known,
}

/// The same within a budget that others spend from too.
pub(crate) fn read_within(words: &[Word], surroundings: &Surroundings<'_>, budget: &Budget) -> Invocation {
    let mut interpreter = Interpreter {
        invocation: Invocation::default(),
        lookup: surroundings.lookup,
        budget,
        changes: Changes::default(),
        depth: 0,
        scope: Scope::default(),
        functions: Vec::new(),
        exported: BTreeSet::new(),
        printed: None,
        piped: None,
        strict: false,
        source: None,
        preparation: Preparation::default(),
        names: surroundings.names,
        fillers: surroundings.fillers,
    };
    interpreter.command(words, 0, Level::Argv);
    let mut invocation = interpreter.invocation;
    invocation.changes = interpreter.changes.seen(budget);
    // What is left unread may be anything.
    invocation.unreadable |= budget.is_overdrawn();
    invocation
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "script_tests.rs"]
mod script_tests;

#[cfg(test)]
#[path = "calls_tests.rs"]
mod calls_tests;
