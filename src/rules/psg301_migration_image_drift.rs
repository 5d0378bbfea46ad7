//! PSG301: the user's own migration initContainer has another image than the server.

use super::{Server, Subject};
use crate::kubernetes::ContainerRef;
use crate::kubernetes::image::ImageRef;
use crate::migration::blocker::Blocker;
use crate::policy::Adopted;
use crate::rule::{Fix, FixAvailability, Level, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG301",
    name: "migration-image-drift",
    default: Level::Deny,
    since: "0.1.0",
    fix: FixAvailability::PinsImage,
    summary: "a migration initContainer with another image than the server's",
    page: include_str!("psg301_migration_image_drift.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let Some(lead) = subject.lead() else { return };
    other_servers(subject, lead, report);
    for &index in &subject.plan.adopted {
        let at = ContainerRef { init: true, index };
        let image = &subject.workload.container(at).image;
        if image.0 == lead.container.image.0 {
            continue;
        }
        let (found, wanted) = (ImageRef::shown(image, 64), ImageRef::shown(&lead.container.image, 64));
        let what = format!("migrates with {found}, while the server runs {wanted}");
        let help = format!("set its image to {wanted}, or delete it and let it be injected");
        let finding = report.add(&RULE, subject.place_of(at, "image"), what, help);
        finding.about(format!("{} {}", &**image, &*lead.container.image));
        match (&subject.plan.blocker, subject.settings.adopted) {
            (Some(Blocker::OptedOut), _) => finding.only_warn(Some("`prefect-guard.io/inject: \"false\"`")),
            (Some(Blocker::Controlled), _) => finding.only_warn(Some("a controller owns this object")),
            (_, Adopted::Warn) => finding.only_warn(Some("`migration.adopted: warn` in the policy")),
            (_, Adopted::Deny) => finding,
            (_, Adopted::Pin) => {
                finding.fixed_by(Fix::Pin { index, image: lead.container.image.to_string() })
            }
        };
    }
}

/// One migration serves the leading server's image; another server of the pod may need another schema.
fn other_servers(subject: &Subject<'_>, lead: &Server<'_>, report: &mut Report) {
    if !matches!(subject.plan.blocker, None | Some(Blocker::Adopted)) {
        return;
    }
    let wanted = &lead.container.image;
    for server in subject.servers.iter().skip(1).filter(|server| server.container.image.0 != wanted.0) {
        let (found, wanted) = (ImageRef::shown(&server.container.image, 64), ImageRef::shown(wanted, 64));
        let what = format!("runs {found}, while the schema is migrated for {wanted}");
        let help = format!("run the same image in both, {wanted}");
        report.add(&RULE, subject.place_of(server.at, "image"), what, help).only_warn(None);
    }
}
