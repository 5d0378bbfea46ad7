//! PSG902: a server that may be there and was not recognised.

use super::Subject;
use crate::kubernetes::image::ImageRef;
use crate::kubernetes::{Class, ContainerRef};
use crate::rule::{Level, Place, Report, Rule};
use crate::shell::programs;
use crate::text::{basename, clip};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG902",
    name: "undetected-server",
    default: Level::Warn,
    since: "0.1.0",
    summary: "an annotation names a container that is not there, or what may be a server cannot be read",
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
    if !subject.servers.is_empty() {
        return;
    }
    for (index, container) in containers.iter().enumerate() {
        let at = ContainerRef { init: false, index };
        let Some(suspect) = Suspect::of(subject, at) else { continue };
        let field = if container.command.is_empty() { "args" } else { "command" };
        let place = match suspect {
            Suspect::ShellOfTheImage | Suspect::CommandOfTheImage => subject.place(at),
            _ => subject.place_of(at, field),
        };
        report.add(&RULE, place, suspect.what(), suspect.help()).about(&*container.image);
    }
}

/// What may be a server, and why it was not taken for one.
#[derive(Clone, Copy)]
enum Suspect {
    /// A sub-command that the manifest does not show.
    SubCommand,
    /// A script that is not in the manifest, in Prefect's own image.
    Script,
    /// Prefect's own image without a command.
    ShellOfTheImage,
    /// Settings of a server, and the image's own command.
    CommandOfTheImage,
    /// Settings of a server, and an application that is not Prefect's by name.
    Application,
    /// Settings of a server, and a command that cannot be read.
    Command,
}

impl Suspect {
    fn of(subject: &Subject<'_>, at: ContainerRef) -> Option<Suspect> {
        let container = subject.workload.container(at);
        let invocation = subject.commands.of(at);
        let official = ImageRef::parse(&container.image).is_some_and(|image| image.is_official_prefect());
        let other_commands = !subject.database_commands.is_empty();
        let has_settings = container.env.iter().any(|variable| is_for_servers(&variable.name));
        match () {
            () if invocation.undecided && !other_commands => Some(Suspect::SubCommand),
            () if official && invocation.unreadable && !other_commands => Some(Suspect::Script),
            () if invocation.calls_prefect || !invocation.calls.is_empty() => None,
            () if container.command.is_empty() && container.args.is_empty() => match (official, has_settings)
            {
                (true, _) => Some(Suspect::ShellOfTheImage),
                (false, true) => Some(Suspect::CommandOfTheImage),
                (false, false) => None,
            },
            () if !has_settings => None,
            () => {
                let mut words = container.argv().map(basename);
                if words.clone().any(programs::serves_applications) {
                    return Some(Suspect::Application);
                }
                // What only prints or waits is no server; a tool of the image's own may be one.
                let idle = words.find(|word| !word.starts_with('-')).is_some_and(programs::only_prints);
                (!idle).then_some(Suspect::Command)
            }
        }
    }

    fn what(self) -> &'static str {
        match self {
            Suspect::SubCommand => {
                "the manifest does not show what this `prefect` command does: it may be a server, and was not checked"
            }
            Suspect::Script => {
                "a Prefect image starts a script that cannot be read: it may be a server, and was not checked"
            }
            Suspect::ShellOfTheImage => {
                "has no command, and that of Prefect's own image is a shell: no server starts here"
            }
            Suspect::CommandOfTheImage => {
                "has settings of a Prefect server and no command: what its image starts may be one, and was not checked"
            }
            Suspect::Application => {
                "has settings of a Prefect server and serves an application: it may be one, and was not checked"
            }
            Suspect::Command => {
                "has settings of a Prefect server and a command that cannot be read: it may be one, and was not checked"
            }
        }
    }

    fn help(self) -> &'static str {
        match self {
            Suspect::ShellOfTheImage => "for a server, add `command: [prefect, server, start]`",
            _ => "if it is a server, annotate the pod template with `prefect-guard.io/container: NAME`",
        }
    }
}

/// Whether only a server reads a setting of this name; a worker has no use for it.
fn is_for_servers(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let server = ["PREFECT_SERVER_", "PREFECT__SERVER_", "PREFECT_API_", "PREFECT_ORION_"];
    let Some(field) = server.iter().find_map(|prefix| upper.strip_prefix(prefix)) else { return false };
    let read_by_servers = ["DATABASE_", "SERVICES_", "UI_", "WEBSERVER_", "API_"];
    read_by_servers.iter().any(|prefix| field.starts_with(prefix))
}
