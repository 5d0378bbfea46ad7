//! PSG304: two servers on one database, with different images.
//!
//! It needs to see several objects, so it runs in `check` and `audit` only.

use std::collections::BTreeMap;

use super::stream::{Member, Seen};
use crate::kubernetes::image::ImageRef;
use crate::rule::{Level, Report, Rule, Scope, Sensitive};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG304",
    name: "servers-of-different-images",
    default: Level::Warn,
    since: "0.2.0",
    scope: Scope::Stream,
    summary: "two servers on one database with different images (`check`, `audit`)",
    page: include_str!("psg304_servers_of_different_images.md"),
    ..Rule::USUAL
};

/// The first server of a database sets the image; those of other objects with another one are reported.
pub(super) fn check(seen: &[Seen], reports: &mut [Report]) {
    let mut first: BTreeMap<(&str, Sensitive), (usize, &Member)> = BTreeMap::new();
    for (index, (object, report)) in seen.iter().zip(reports).enumerate() {
        for member in object.containers.iter().filter(|member| member.is_server) {
            let Some(database) = member.database else { continue };
            let (at, leader) = *first.entry((&object.namespace, database)).or_insert((index, member));
            if !object.is_another(&seen[at]) || leader.image == member.image {
                continue;
            }
            let (found, wanted) = (ImageRef::shown(&member.image, 64), ImageRef::shown(&leader.image, 64));
            let what = format!("runs {found}, while another server on the same database runs {wanted}");
            let help = "run the same image on both";
            report.add(&RULE, member.image_place.clone(), what, help);
        }
    }
}
