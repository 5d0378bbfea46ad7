//! PSG208: a migration that cannot work, whatever the database says.

use super::Subject;
use crate::rule::{Level, Report, Rule};
use crate::shell::command::{Action, Call, Failure};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG208",
    name: "broken-migration",
    default: Level::Deny,
    since: "0.2.0",
    summary: "a migration command that cannot work: it asks for confirmation, or Prefect has no such command or option",
    page: include_str!("psg208_broken_migration.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    for at in subject.commands.containers() {
        let broken = |call: &&Call| call.action == Action::BrokenUpgrade && !call.elsewhere;
        let Some(call) = subject.commands.of(at).calls.iter().find(broken) else { continue };
        let Some(failure) = &call.failure else { continue };
        let what = format!("its migration cannot work: {}", reason(failure));
        let finding = report.add(&RULE, subject.place(at), what, help(failure)).about(format!("{failure:?}"));
        // Where a container starts without it, or is no step of a pod's start, the pod does not wait for it.
        if !at.init {
            finding.only_warn(None);
        } else if !call.certain {
            finding.only_warn(Some("its script may not run it"));
        }
    }
}

fn reason(failure: &Failure) -> String {
    match failure {
        Failure::Unconfirmed => {
            "without `-y`, `database upgrade` asks for confirmation, and no terminal answers".to_owned()
        }
        Failure::UnknownOption(option) => format!("`database upgrade` has no option `{}`", shown(option)),
        Failure::UnexpectedWord(word) => format!("`database upgrade` takes no `{}`", shown(word)),
        Failure::NoSuchCommand(words) => format!("`prefect {}` is no command", shown(words)),
    }
}

/// A word as it can stand between backticks.
fn shown(word: &str) -> String {
    crate::text::printable(word).replace('`', "'")
}

fn help(failure: &Failure) -> &'static str {
    match failure {
        Failure::Unconfirmed => "add `-y`",
        Failure::UnknownOption(_) | Failure::UnexpectedWord(_) | Failure::NoSuchCommand(_) => {
            "call `prefect server database upgrade -y`"
        }
    }
}
