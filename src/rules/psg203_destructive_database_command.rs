//! PSG203: a command that destroys data, in any container of any pod template.

use std::collections::BTreeMap;

use super::Subject;
use crate::rule::{Level, Place, Report, Rule};
use crate::kubernetes::ContainerRef;
use crate::shell::command::{Action, Invocation};
use crate::shell::words::basename;

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
    let spec = &subject.workload.template.spec;
    let read = subject.servers.iter().chain(&subject.database_commands);
    let known: BTreeMap<_, _> =
        read.map(|server| ((server.at.init, server.at.index), &server.invocation)).collect();
    let refs = |init, count| (0..count).map(move |index| ContainerRef { init, index });
    for at in refs(false, spec.containers.len()).chain(refs(true, spec.init_containers().len())) {
        let container = subject.workload.container(at);
        match known.get(&(at.init, at.index)) {
            Some(invocation) => report_calls(invocation, "runs", &subject.place(at), report),
            None => report_calls(&container.invocation(), "runs", &subject.place(at), report),
        }
        for (field, argv) in container.hooks() {
            let verb = format!("`{}` runs", basename(field));
            report_calls(&container.hook_invocation(argv), &verb, &subject.place_of(at, field), report);
        }
    }
}

fn report_calls(invocation: &Invocation, verb: &str, place: &Place, report: &mut Report) {
    for call in &invocation.calls {
        let (command, loss) = match call.action {
            Action::Reset => ("reset", "drops every table"),
            Action::Downgrade => ("downgrade", "drops columns and tables"),
            _ => continue,
        };
        let what = format!("{verb} `prefect server database {command}`, which {loss}");
        let help = "take it out of the manifest; to do it on purpose, run it once by hand with `kubectl exec`";
        report.add(&RULE, place.clone(), what, help).about(command);
    }
}
