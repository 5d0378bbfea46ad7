//! PSG203: a command that destroys data, in any container of any pod template.

use super::{Server, Subject};
use crate::finding::{Level, Report, Rule};
use crate::workload::command::Action;

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG203",
    name: "destructive-database-command",
    default: Level::Deny,
    since: "0.1.0",
    fix: None,
    summary: "`prefect server database reset` or `downgrade` in a pod template",
    page: include_str!("psg203_destructive_database_command.md"),
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    for server in subject.servers.iter().chain(&subject.database_commands) {
        check_container(subject, server, report);
    }
}

fn check_container(subject: &Subject<'_>, server: &Server<'_>, report: &mut Report) {
    for call in &server.invocation.calls {
        let (command, loss) = match call.action {
            Action::Reset => ("reset", "drops every table"),
            Action::Downgrade => ("downgrade", "drops columns and tables"),
            _ => continue,
        };
        let what = format!("runs `prefect server database {command}`, which {loss}");
        let help = "take it out of the manifest; to do it on purpose, run it once by hand with `kubectl exec`";
        report.add(&RULE, subject.place(server.at), what, help).about(command);
    }
}
