//! PSG902: a server that may be there and was not recognised.

use super::Subject;
use crate::finding::{Level, Place, Report, Rule, clip};
use crate::workload::image::ImageRef;
use crate::workload::{Class, ContainerRef};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG902",
    name: "undetected-server",
    default: Level::Warn,
    since: "0.1.0",
    fix: None,
    summary: "an annotation names a container that is not there, or a Prefect image runs a script that cannot be read",
    page: include_str!("psg902_undetected_server.md"),
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let containers = &subject.workload.template.spec.containers;
    if let Some(wanted) = subject.own.container
        && !containers.iter().any(|container| &*container.name == wanted)
    {
        let pointer =
            format!("{}/metadata/annotations/prefect-guard.io~1container", subject.workload.template_pointer);
        let place = Place { pointer, ..Place::default() };
        let what = format!("annotation `prefect-guard.io/container` names `{}`, and there is no such container", clip(wanted, 63));
        report.add(&RULE, place, what, "name one of the pod's containers").about(wanted);
        return;
    }
    if !subject.servers.is_empty() || !subject.database_commands.is_empty() || subject.workload.class != Class::Server {
        return;
    }
    for (index, container) in containers.iter().enumerate() {
        let official = ImageRef::parse(&container.image).is_some_and(|image| image.is_official_prefect());
        if official && container.invocation().unreadable {
            let what = "a Prefect image starts a script that cannot be read: it may be a server, and was not checked";
            let help = "if it is a server, annotate the pod template with `prefect-guard.io/container: NAME`";
            let at = ContainerRef { init: false, index };
            report.add(&RULE, subject.place_of(at, "command"), what, help).about(&*container.image);
        }
    }
}
