//! PSG201: a server with no migration before it.

use super::Subject;
use crate::finding::{Level, Report, Rule};
use crate::patch::obstacle::Obstacle;

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG201",
    name: "missing-migration",
    default: Level::Deny,
    since: "0.1.0",
    fix: Some("injects the migration initContainer"),
    summary: "a Prefect server that starts with no migration before it",
    page: include_str!("psg201_missing_migration.md"),
};

const WHAT: &str = "nothing migrates the database before this server starts";
const WRITE_ONE: &str = "add an initContainer of the same image and env that runs `prefect server database upgrade -y`";

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let Some(lead) = subject.lead() else { return };
    let plan = &subject.plan;
    if plan.ours.is_some() || !plan.adopted.is_empty() {
        return;
    }
    let place = subject.place(lead.at);
    match &plan.obstacle {
        None => {
            let Some((fix, _)) = &plan.fix else { return };
            let help = "the injection was skipped; apply again, and see that the mutating webhook is in place";
            report.add(&RULE, place, WHAT, help).mend(fix.clone());
        }
        Some(Obstacle::OptedOut) => {
            let why = Some("`prefect-guard.io/inject: \"false\"`");
            report.add(&RULE, place, WHAT, WRITE_ONE).only_warn(why);
        }
        Some(Obstacle::Controlled) => {
            let why = Some("a controller owns this object and would undo an injection");
            let help = "let the controller that owns it add the migration";
            report.add(&RULE, place, WHAT, help).only_warn(why);
        }
        Some(Obstacle::UrlInScript) => {
            let why = Some("the URL is set in the server's own script, which an initContainer does not run");
            let help = "set the database URL in `env`, from a Secret, in place of the script";
            report.add(&RULE, place, WHAT, help).only_warn(why);
        }
        Some(Obstacle::PolicyOff) => {
            report.add(&RULE, place, WHAT, WRITE_ONE);
        }
        // These are not missing, or another rule says what is wrong (PSG109, PSG204, PSG207).
        Some(
            Obstacle::NoServer
            | Obstacle::Adopted
            | Obstacle::MigratesItself
            | Obstacle::ThrowawaySqlite
            | Obstacle::OrdinaryProxy(_)
            | Obstacle::NoNetwork(_),
        ) => {}
    }
}
