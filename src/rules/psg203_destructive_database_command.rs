//! PSG203: a command that destroys data or the account of its schema, in any container of any pod template.

use super::Subject;
use crate::rule::{Level, Place, Ratchet, Report, Rule};
use crate::shell::command::{Action, Invocation};
use crate::text::basename;

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG203",
    name: "destructive-database-command",
    default: Level::Deny,
    since: "0.1.0",
    ratchet: Ratchet::Holds,
    summary: "`prefect server database reset`, `downgrade`, `stamp` or `revision` in a pod template",
    page: include_str!("psg203_destructive_database_command.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let commands = &subject.commands;
    for at in commands.containers() {
        report_calls(commands.of(at), "runs", &subject.place(at), report);
        for (field, invocation) in commands.hooks(at) {
            let verb = format!("`{}` runs", basename(field));
            report_calls(invocation, &verb, &subject.place_of(at, field), report);
        }
    }
}

fn report_calls(invocation: &Invocation, verb: &str, place: &Place, report: &mut Report) {
    for call in &invocation.calls {
        let (command, loss) = match call.action {
            Action::Reset => ("reset", "drops every table"),
            Action::Downgrade => ("downgrade", "drops columns and tables"),
            Action::Stamp => ("stamp", "marks the schema as migrated without migrating it"),
            Action::Revision => ("revision", "writes a migration that only this container has"),
            _ => continue,
        };
        let what = format!("{verb} `prefect server database {command}`, which {loss}");
        let help =
            "take it out of the manifest; to do it on purpose, run it once by hand with `kubectl exec`";
        report.add(&RULE, place.clone(), what, help).about(command);
    }
}
