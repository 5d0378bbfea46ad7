//! PSG902: a server that may be there and was not recognised.

use super::Subject;
use crate::kubernetes::image::ImageRef;
use crate::kubernetes::{Class, ContainerRef};
use crate::rule::{Level, Place, Report, Rule};
use crate::text::basename;
use crate::text::clip;

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG902",
    name: "undetected-server",
    default: Level::Warn,
    since: "0.1.0",
    summary: "an annotation names a container that is not there, or a command that may start a server cannot be read",
    page: include_str!("psg902_undetected_server.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let containers = &subject.workload.template.spec.containers;
    if let Some(wanted) = subject.own.container
        && !containers.iter().any(|container| &*container.name == wanted)
    {
        let pointer =
            format!("{}/metadata/annotations/prefect-guard.io~1container", subject.workload.template_pointer);
        let place = Place { pointer, ..Place::default() };
        let what = format!(
            "annotation `prefect-guard.io/container` names `{}`, and there is no such container",
            clip(wanted, 63)
        );
        report.add(&RULE, place, what, "name one of the pod's containers").about(wanted);
        return;
    }
    if subject.workload.class != Class::Server {
        return;
    }
    for index in 0..containers.len() {
        let at = ContainerRef { init: false, index };
        for (field, invocation) in subject.commands.hooks(at) {
            if invocation.server().is_some() {
                let name = basename(field);
                let what = format!("`{name}` starts a Prefect server, which is neither checked nor migrated");
                let help = "start it with `command` or `args` of a container";
                report.add(&RULE, subject.place_of(at, field), what, help).about(name);
            }
        }
    }
    if !subject.servers.is_empty() || !subject.database_commands.is_empty() {
        return;
    }
    for (index, container) in containers.iter().enumerate() {
        let official = ImageRef::parse(&container.image).is_some_and(|image| image.is_official_prefect());
        let at = ContainerRef { init: false, index };
        let invocation = subject.commands.of(at);
        let what = match () {
            () if invocation.undecided => {
                "the manifest does not show what this `prefect` command does: it may be a server, and was not checked"
            }
            () if official && invocation.unreadable => {
                "a Prefect image starts a script that cannot be read: it may be a server, and was not checked"
            }
            () => continue,
        };
        let help = "if it is a server, annotate the pod template with `prefect-guard.io/container: NAME`";
        let field = if container.command.is_empty() { "args" } else { "command" };
        report.add(&RULE, subject.place_of(at, field), what, help).about(&*container.image);
    }
}
