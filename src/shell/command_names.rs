//! The names of Prefect's commands, as its command line reads them.
//!
//! Sources: `prefect/cli/server.py` of 2.20 to 3.9, and the names as `prefect` 3.9.1 takes them: from 3.9.0 on, `-`,
//! `_` and case say nothing in the name of a command.

use crate::shell::command::Action;

/// How names are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommandNames {
    /// As they are written: before 3.9.0.
    #[default]
    Exact,
    /// `-`, `_` and case say nothing: from 3.9.0 on.
    Folded,
}

impl CommandNames {
    /// The name of a command as it is compared.
    pub(super) fn read(self, word: &str) -> String {
        match self {
            // A name of Prefect before 2.8 is no name of 3.9.
            CommandNames::Folded if !word.eq_ignore_ascii_case("orion") => {
                word.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
            }
            _ => word.to_owned(),
        }
    }
}

/// What a command is about, by the words of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// It does this.
    Action(Action),
    /// `database upgrade`: its options say what it does.
    Upgrade,
    /// `config set`
    ConfigSet,
    /// It is about the database, and none of these.
    Database,
    /// It is meant to migrate, and there is no such command; so many words name it.
    NoSuchUpgrade(usize),
    /// Nothing that matters.
    Other,
}

/// What these words name.
pub(super) fn find(words: &[&str]) -> Named {
    match words {
        ["server" | "orion", "start", ..] => Named::Action(Action::Serve),
        ["server", "services", "start" | "enable" | "manager", ..] => Named::Action(Action::Services),
        ["server" | "orion", "database", "upgrade", ..] => Named::Upgrade,
        ["server" | "orion", "database", "reset", ..] => Named::Action(Action::Reset),
        ["server" | "orion", "database", "downgrade", ..] => Named::Action(Action::Downgrade),
        ["server" | "orion", "database", "stamp", ..] => Named::Action(Action::Stamp),
        ["server" | "orion", "database", "revision", ..] => Named::Action(Action::Revision),
        ["server" | "orion", "database", word, ..] if migrates(word) => Named::NoSuchUpgrade(3),
        ["server" | "orion", "db", word, ..] if migrates(word) => Named::NoSuchUpgrade(2),
        ["server" | "orion", "database", ..] => Named::Database,
        ["server" | "orion", word, ..] if migrates(word) => Named::NoSuchUpgrade(2),
        ["database" | "db", ..] => Named::NoSuchUpgrade(1),
        [word, ..] if migrates(word) => Named::NoSuchUpgrade(1),
        ["config", "set", ..] => Named::ConfigSet,
        _ => Named::Other,
    }
}

/// Words that are meant for a migration.
fn migrates(word: &str) -> bool {
    matches!(word, "upgrade" | "migrate" | "migration" | "migrations" | "update" | "init" | "create")
}

/// Whether a sub-command that begins so may be one that matters: a worker is none.
pub(super) fn may_lead_to_a_server(word: &str) -> bool {
    matches!(word, "server" | "orion" | "start" | "services" | "database")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: CommandNames, line: &str) -> Named {
        let words: Vec<String> = line.split(' ').map(|word| names.read(word)).collect();
        find(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn reads_names_as_each_release_does() {
        // Each of these was run by `prefect` 3.9.1, and refused by 3.8.8.
        for (line, wanted) in [
            ("Server DataBase RESET", Named::Action(Action::Reset)),
            ("server data-base re_set", Named::Action(Action::Reset)),
            ("SERVER Start", Named::Action(Action::Serve)),
            ("server services STA_RT", Named::Action(Action::Services)),
            ("server data_base up-grade", Named::Upgrade),
        ] {
            assert_eq!(of(CommandNames::Folded, line), wanted, "{line}");
            assert_ne!(of(CommandNames::Exact, line), wanted, "{line}");
        }
        for line in ["Orion start", "server-database reset", "server databases reset"] {
            assert_eq!(of(CommandNames::Folded, line), Named::Other, "{line}");
        }
        assert_eq!(of(CommandNames::Folded, "orion start"), Named::Action(Action::Serve));
    }

    #[test]
    fn knows_the_commands_of_the_database() {
        for (line, wanted) in [
            ("server database stamp head", Named::Action(Action::Stamp)),
            ("server database revision -m x", Named::Action(Action::Revision)),
            ("server services enable", Named::Action(Action::Services)),
            ("server services ls", Named::Other),
            ("server database", Named::Database),
            ("database upgrade -y", Named::NoSuchUpgrade(1)),
            ("server upgrade", Named::NoSuchUpgrade(2)),
            ("server database migrate", Named::NoSuchUpgrade(3)),
            ("config set A=b", Named::ConfigSet),
            ("worker start", Named::Other),
        ] {
            assert_eq!(of(CommandNames::Exact, line), wanted, "{line}");
        }
    }
}
