//! PSG201: a server with no migration before it.

use std::collections::BTreeMap;

use super::{Server, Subject};
use crate::kubernetes::{Container, ContainerRef};
use crate::migration::blocker::Blocker;
use crate::migration::container::NAME;
use crate::rule::{Fix, FixAvailability, Level, Report, Rule};
use crate::text::clip;

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG201",
    name: "missing-migration",
    default: Level::Deny,
    since: "0.1.0",
    fix: FixAvailability::Injects,
    summary: "a Prefect server that starts with no migration before it",
    page: include_str!("psg201_missing_migration.md"),
    ..Rule::USUAL
};

const WHAT: &str = "nothing migrates the database before this server starts";
const WRITE_ONE: &str =
    "add an initContainer of the same image and env that runs `prefect server database upgrade -y`";

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let Some(lead) = subject.lead() else { return };
    let plan = &subject.plan;
    if matches!(plan.blocker, None | Some(Blocker::Adopted)) {
        other_databases(subject, lead, report);
    }
    if let (Some(index), Some(difference)) = (plan.ours, plan.left) {
        let place = subject.place(ContainerRef { init: true, index });
        let help = "let the controller that owns this object correct it, or take it out";
        report.add(&RULE, place, difference, help).only_warn(Some("a controller owns this object"));
    }
    let goes = matches!(plan.fix, Some((Fix::Remove { .. }, _)));
    if (plan.ours.is_some() && !goes) || !plan.adopted.is_empty() {
        return;
    }
    let place = subject.place(lead.at);
    match &plan.blocker {
        None => {
            let Some((fix, _)) = &plan.fix else { return };
            let help =
                "the injection was skipped; apply again, and see that the mutating webhook is in place";
            report.add(&RULE, place, WHAT, help).fixed_by(fix.clone());
        }
        Some(Blocker::OptedOut) => {
            let why = Some("`prefect-guard.io/inject: \"false\"`");
            report.add(&RULE, place, WHAT, WRITE_ONE).only_warn(why);
        }
        Some(Blocker::Controlled) => {
            let why = Some("a controller owns this object and would undo an injection");
            let help = "let the controller that owns it add the migration";
            report.add(&RULE, place, WHAT, help).only_warn(why);
        }
        Some(Blocker::SettingInScript) => {
            let why = Some(
                "a database setting comes from the server's own script, which an initContainer does not run",
            );
            let help =
                "set the database URL and its password in `env`, from a Secret, in place of the script";
            report.add(&RULE, place, WHAT, help).only_warn(why);
        }
        Some(Blocker::ProgramInScript) => {
            let why = Some("Prefect is found only in an environment that the server's own script sets up");
            let help = "call it by its absolute path, or add an initContainer that runs `prefect server database upgrade -y`";
            report.add(&RULE, place, WHAT, help).only_warn(why);
        }
        Some(Blocker::Unprepared(unprepared)) => {
            let (why, help) = unprepared.reason();
            report.add(&RULE, place, WHAT, help).only_warn(Some(why));
        }
        Some(Blocker::NameTaken) => {
            let what =
                format!("an ordinary container has the name `{NAME}`, so no migration can be injected");
            let help = "give that container another name";
            report.add(&RULE, place, what, help);
        }
        Some(Blocker::PolicyOff) => {
            report.add(&RULE, place, WHAT, WRITE_ONE);
        }
        // These are not missing, or another rule says what is wrong (PSG109, PSG204, PSG207).
        Some(
            Blocker::NoServer
            | Blocker::Adopted
            | Blocker::MigratesItself
            | Blocker::ThrowawaySqlite
            | Blocker::OrdinaryProxy(_)
            | Blocker::NoNetwork(_),
        ) => {}
    }
}

/// One migration serves the leading server's database; a container beside it may name another.
fn other_databases(subject: &Subject<'_>, lead: &Server<'_>, report: &mut Report) {
    if subject.servers.len() == 1 && subject.plan.adopted.is_empty() {
        return;
    }
    let wanted = settings_of(lead.container);
    let lead_name = clip(&lead.container.name, 63);
    let help =
        format!("give it and `{lead_name}` the same database setting, or take it into a pod of its own");
    let differs = |at: ContainerRef| {
        let own = settings_of(subject.workload.container(at));
        !own.is_empty() && !wanted.is_empty() && own != wanted
    };
    let why = Some("two Secrets may hold the same URL");
    for server in subject.servers.iter().skip(1).filter(|server| differs(server.at)) {
        let what =
            format!("its database setting is not that of `{lead_name}`, and only that one is migrated");
        report.add(&RULE, subject.place(server.at), what, help.clone()).only_warn(why);
    }
    let adopted = subject.plan.adopted.iter().map(|&index| ContainerRef { init: true, index });
    for at in adopted.filter(|at| differs(*at)) {
        let what = format!("it migrates by another database setting than the one `{lead_name}` starts with");
        report.add(&RULE, subject.place(at), what, help.clone()).only_warn(why);
    }
}

/// The settings that pick the database, as far as they can be compared: both spellings and any case read alike.
fn settings_of(container: &Container<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for variable in container.env.iter() {
        let name = variable.name.to_ascii_lowercase();
        let key =
            name.strip_prefix("prefect_server_database_").or(name.strip_prefix("prefect_api_database_"));
        if let Some(key @ ("connection_url" | "host" | "port" | "name" | "driver")) = key {
            let source = variable.value_from.as_ref();
            let reference =
                source.and_then(|from| from.secret_key_ref.as_ref().or(from.config_map_key_ref.as_ref()));
            let value = match (reference, source) {
                (Some(reference), _) => format!("{} {}", &*reference.name, &*reference.key),
                (None, Some(_)) => String::new(),
                (None, None) => variable.value.as_deref().unwrap_or_default().to_owned(),
            };
            found.insert(key.to_owned(), value);
        }
    }
    found
}
