//! PSG403: more servers of one database than one object shows, and they share nothing else.
//!
//! It needs to see several objects, so it runs in `check` and `audit` only.

use super::stream::{Member, Seen};
use crate::rule::{Level, Report, Rule, Scope};
use crate::text::clip;

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG403",
    name: "servers-across-objects",
    default: Level::Warn,
    since: "0.2.0",
    scope: Scope::Stream,
    summary: "a second object with a server on the same database, without Redis (`check`, `audit`)",
    page: include_str!("psg403_servers_across_objects.md"),
    ..Rule::USUAL
};

pub(super) fn check(seen: &[Seen], reports: &mut [Report]) {
    for (object, report) in seen.iter().zip(reports) {
        for member in object.containers.iter().filter(|member| member.is_server) {
            // Alone in its object: of what is several there, another rule speaks.
            let Some(names) = member.unshared.as_ref().filter(|names| !names.is_empty()) else { continue };
            let Some(who) = seen.iter().find_map(|other| several(object, member, other)) else { continue };
            let what = format!("{who}, and each keeps in its own memory what they should share");
            let help = format!("set {} as for Redis", names.join(", "));
            report.add(&RULE, member.place.clone(), what, help).about("memory");
        }
    }
}

/// How `other` makes several servers of this one.
fn several(object: &Seen, member: &Member, other: &Seen) -> Option<String> {
    if other.namespace != object.namespace {
        return None;
    }
    let database = member.database.as_ref().filter(|_| object.is_another(other))?;
    let twin = |one: &Member| one.is_server && one.database.as_ref() == Some(database);
    let name = clip(&other.name, 80).replace('`', "'");
    other.containers.iter().any(twin).then(|| format!("{} `{name}` serves the same database", other.kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Sensitive;

    fn server(name: &str, url: &str, unshared: Option<&[&str]>) -> Seen {
        let unshared = unshared.map(|names| names.iter().map(|name| format!("`{name}`")).collect());
        let database = Some(Sensitive::new(url));
        let member = Member { is_server: true, unshared, database, ..Member::default() };
        let named = Seen { kind: "Deployment".to_owned(), name: name.to_owned(), ..Seen::default() };
        Seen { containers: vec![member], ..named }
    }

    fn found(seen: &[Seen]) -> Vec<String> {
        let mut reports: Vec<Report> = seen.iter().map(|_| Report::default()).collect();
        check(seen, &mut reports);
        reports.into_iter().flat_map(Report::into_findings).map(|finding| finding.what).collect()
    }

    #[test]
    fn finds_a_second_object() {
        let memory: Option<&[&str]> = Some(&["A"]);
        let twins = found(&[server("one", "u", memory), server("two", "u", memory)]);
        assert_eq!(twins.len(), 2);
        assert!(twins[0].contains("Deployment `two`"), "{twins:?}");
    }

    #[test]
    fn accepts_one_server_a_database_and_what_shares() {
        let memory: Option<&[&str]> = Some(&["A"]);
        assert!(found(&[server("one", "u", memory), server("two", "v", memory)]).is_empty());
        assert!(found(&[server("one", "u", memory), server("one", "u", memory)]).is_empty());
        assert!(found(&[server("one", "u", None), server("two", "u", None)]).is_empty());
        let shared: Option<&[&str]> = Some(&[]);
        assert!(found(&[server("one", "u", shared), server("two", "u", shared)]).is_empty());
    }
}
