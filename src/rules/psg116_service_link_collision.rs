//! PSG116: a Service whose variables stop Prefect.
//!
//! It needs to see several objects, so it runs in `check` and `audit` only.

use super::stream::Seen;
use crate::rule::{Level, Report, Rule, Scope};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG116",
    name: "service-link-collision",
    default: Level::Warn,
    since: "0.1.0",
    scope: Scope::Stream,
    summary: "a Service whose variables stop Prefect (`check`, `audit`)",
    page: include_str!("psg116_service_link_collision.md"),
    ..Rule::USUAL
};

/// Names of Services for which the kubelet sets a variable that Prefect reads as a port, with that variable.
const NAMES: [(&str, &str); 3] = [
    ("prefect-server-database", "PREFECT_SERVER_DATABASE_PORT"),
    ("prefect-api-database", "PREFECT_API_DATABASE_PORT"),
    ("prefect-server-api", "PREFECT_SERVER_API_PORT"),
];

/// What a container sets itself beats the kubelet's variable.
pub(super) fn check(seen: &[Seen], reports: &mut [Report]) {
    let colliding = |object: &'_ Seen| {
        NAMES.iter().find(|(name, _)| object.service.as_ref().is_some_and(|one| one.name == *name))
    };
    let services: Vec<_> = seen.iter().filter_map(|one| Some((&one.namespace, colliding(one)?))).collect();
    for (object, report) in seen.iter().zip(reports).filter(|(object, _)| object.service_links) {
        for member in &object.containers {
            for (_, (name, variable)) in
                services.iter().filter(|(namespace, _)| **namespace == object.namespace)
            {
                if member.variables.contains(*variable) {
                    continue;
                }
                let what =
                    format!("Service `{name}` sets `{variable}` to `tcp://…`, and Prefect refuses to start");
                let help = "set `enableServiceLinks: false` in the pod spec, or rename the Service";
                report.add(&RULE, member.place.clone(), what, help).about(*variable);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::rule::{Finding, Report};
    use crate::rules::stream::{Member, Seen};

    fn server(namespace: &str, own: &[&str]) -> Seen {
        let variables = own.iter().map(|name| (*name).to_owned()).collect();
        let containers = vec![Member { is_server: true, variables, ..Member::default() }];
        Seen { namespace: namespace.to_owned(), service_links: true, containers, ..Seen::default() }
    }

    fn found(seen: &[Seen]) -> Vec<(usize, Finding)> {
        let mut reports: Vec<Report> = seen.iter().map(|_| Report::default()).collect();
        check(seen, &mut reports);
        let found = reports.into_iter().enumerate();
        found
            .flat_map(|(at, one)| one.into_findings().into_iter().map(move |finding| (at, finding)))
            .collect()
    }

    #[test]
    fn finds_a_service_beside_a_server() {
        let database = Seen::service("a", "prefect-server-database", "{}");
        let found = found(&[server("a", &[]), database, Seen::service("b", "prefect-server-api", "{}")]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, 0);
        assert!(found[0].1.message().contains("PREFECT_SERVER_DATABASE_PORT"));
    }

    #[test]
    fn accepts_harmless_services_and_ports_of_ones_own() {
        let seen = [
            server("a", &["PREFECT_SERVER_API_PORT"]),
            Seen::service("a", "prefect-server-api", "{}"),
            Seen::service("a", "prefect", "{}"),
            Seen::service("a", "prefect-server", "{}"),
            Seen::service("a", "prefect-api", "{}"),
        ];
        assert!(found(&seen).is_empty());
    }

    #[test]
    fn accepts_a_pod_without_service_links() {
        let unlinked = Seen { service_links: false, ..server("a", &[]) };
        assert!(found(&[unlinked, Seen::service("a", "prefect-server-database", "{}")]).is_empty());
    }
}
