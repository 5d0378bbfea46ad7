//! What `prefect server start` is given on its own command line.

use super::Server;
use crate::prefect::values::integer;
use crate::shell::command::Action;
use crate::shell::word::Word;

/// The options of a `prefect server start`.
#[derive(Clone, Copy)]
pub struct Start<'s> {
    words: &'s [Word],
}

/// What an option is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// It is not there.
    Absent,
    /// This.
    Value(String),
    /// What the manifest does not show.
    NotVisible,
}

impl Server<'_> {
    /// The call of Prefect's own `server start`; `None` for background services, and for an ASGI server such as
    /// `uvicorn`, whose options mean something else.
    pub fn start(&self) -> Option<Start<'_>> {
        let call = self.invocation.server().filter(|call| call.action == Action::Serve)?;
        let name: String = call.options.first()?.known()?.chars().filter(char::is_ascii_alphabetic).collect();
        let own = ["server", "orion"].iter().any(|own| name.eq_ignore_ascii_case(own));
        own.then_some(Start { words: &call.options })
    }
}

impl Start<'_> {
    /// The number behind the last `--workers`, where it is visible.
    pub fn workers(self) -> Option<i64> {
        match self.option("--workers") {
            OptionValue::Value(number) => integer(&number),
            OptionValue::Absent | OptionValue::NotVisible => None,
        }
    }

    /// Whether the background services are left out. Several workers have none.
    pub fn is_without_services(self) -> bool {
        self.words.iter().any(|word| word.is("--no-services"))
            || self.workers().is_some_and(|number| number > 1)
    }

    /// What the last `NAME VALUE` or `NAME=VALUE` says.
    pub fn option(self, name: &str) -> OptionValue {
        let seen = |word: Option<&Word>| match word.map(Word::known) {
            Some(Some(value)) => OptionValue::Value(value.to_owned()),
            Some(None) | None => OptionValue::NotVisible,
        };
        let prefix = format!("{name}=");
        let found = self.words.iter().enumerate().rev().find_map(|(at, word)| match word {
            word if word.is(name) => Some(seen(self.words.get(at + 1))),
            word => word.strip_prefix(&prefix).map(|value| seen(Some(&value))),
        });
        // A word that is not visible may be any option.
        found.unwrap_or_else(|| match self.words.iter().any(Word::has_unknown) {
            true => OptionValue::NotVisible,
            false => OptionValue::Absent,
        })
    }
}
