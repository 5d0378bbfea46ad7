//! Where reading a command line begins: an argv goes in, what it runs comes out.

use std::collections::BTreeSet;

use crate::shell::budget::Budget;
use crate::shell::changes::Changes;
use crate::shell::command::Invocation;
use crate::shell::interpreter::{Interpreter, Level, Scope};
use crate::shell::word::Word;

pub use crate::shell::interpreter::Known;

/// Reads an argv (command, then args). `lookup` gives the literal value of an environment variable, for `$VAR` in
/// a shell string.
pub fn read(argv: &[&str], lookup: &dyn Fn(&str) -> Option<String>) -> Invocation {
    let budget = Budget::of(argv.iter().map(|word| word.len()).sum());
    let words: Vec<Word> = argv.iter().map(|word| Word::from(*word)).collect();
    read_within(&words, &|name| lookup(name).map_or(Known::Unset, Known::Value), &budget)
}

/// The same within a budget that others spend from too.
pub(crate) fn read_within(words: &[Word], lookup: &dyn Fn(&str) -> Known, budget: &Budget) -> Invocation {
    let mut interpreter = Interpreter {
        invocation: Invocation::default(),
        lookup,
        budget,
        changes: Changes::default(),
        depth: 0,
        scope: Scope::default(),
        functions: Vec::new(),
        exported: BTreeSet::new(),
        printed: None,
        piped: None,
        strict: false,
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
