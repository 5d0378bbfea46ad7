//! PSG116: a Service whose variables stop Prefect. Needs to see several objects, so it runs in
//! `check` and `audit` only.

use super::{Subject, problems};
use crate::rule::{Finding, Level, Place, Report, Rule};


/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG116",
    name: "service-link-collision",
    default: Level::Warn,
    since: "0.1.0",
    fix: None,
    summary: "a Service whose variables stop Prefect (`check`, `audit`)",
    page: include_str!("psg116_service_link_collision.md"),
};

/// One object says nothing about this rule.
pub(super) fn check(_: &Subject<'_>, _: &mut Report) {}

/// Names of Services for which the kubelet sets a variable that Prefect reads as a port, with that variable.
const NAMES: [(&str, &str); 3] = [
    ("prefect-server-database", "PREFECT_SERVER_DATABASE_PORT"),
    ("prefect-api-database", "PREFECT_API_DATABASE_PORT"),
    ("prefect-server-api", "PREFECT_SERVER_API_PORT"),
];

/// An object as the rule has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its namespace.
    pub namespace: String,
    /// The name of a Service, `None` for other kinds.
    pub service: Option<String>,
    /// The containers with a Prefect in them that get service links, and the `PREFECT_…_PORT` variables they set
    /// themselves.
    pub servers: Vec<(Place, Vec<String>)>,
}

impl Seen {
    /// What a Service contributes.
    pub fn service(namespace: &str, name: &str) -> Self {
        Seen { namespace: namespace.to_owned(), service: Some(name.to_owned()), servers: Vec::new() }
    }

    /// What a workload contributes.
    pub fn of(subject: &Subject<'_>, namespace: &str) -> Self {
        let linked = subject.workload.template.spec.service_links();
        let servers = problems::users(subject)
            .filter(|_| linked)
            .map(|server| {
                let own = NAMES.iter().map(|(_, variable)| *variable);
                let own = own.filter(|variable| server.environment.get(variable).is_some());
                (subject.place(server.at), own.map(str::to_owned).collect())
            })
            .collect();
        Seen { namespace: namespace.to_owned(), service: None, servers }
    }
}

/// Findings over many objects: the index into `seen`, and what was found there. What the container sets itself
/// beats the kubelet's variable.
pub fn across(seen: &[Seen]) -> Vec<(usize, Finding)> {
    let colliding = |object: &'_ Seen| NAMES.iter().find(|(name, _)| Some(*name) == object.service.as_deref());
    let services: Vec<_> = seen.iter().filter_map(|one| Some((&one.namespace, colliding(one)?))).collect();
    let mut findings = Vec::new();
    for (index, object) in seen.iter().enumerate() {
        for (place, own) in &object.servers {
            for (_, (name, variable)) in services.iter().filter(|(namespace, _)| **namespace == object.namespace) {
                if own.iter().any(|own| own == variable) {
                    continue;
                }
                let what = format!("Service `{name}` sets `{variable}` to `tcp://…`, and Prefect refuses to start");
                let help = "set `enableServiceLinks: false` in the pod spec, or rename the Service";
                let mut report = Report::default();
                report.add(&RULE, place.clone(), what, help).about(*variable);
                findings.extend(report.into_findings().into_iter().map(|finding| (index, finding)));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{Seen, across};
    use crate::rule::Place;

    fn server(namespace: &str, own: &[&str]) -> Seen {
        let own = own.iter().map(|name| (*name).to_owned()).collect();
        Seen { namespace: namespace.to_owned(), service: None, servers: vec![(Place::default(), own)] }
    }

    #[test]
    fn finds_a_service_beside_a_server() {
        let seen = [server("a", &[]), Seen::service("a", "prefect-server-database"), Seen::service("b", "prefect-server-api")];
        let found = across(&seen);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, 0);
        assert!(found[0].1.message().contains("PREFECT_SERVER_DATABASE_PORT"));
    }

    #[test]
    fn accepts_harmless_services_and_ports_of_ones_own() {
        let seen = [
            server("a", &["PREFECT_SERVER_API_PORT"]),
            Seen::service("a", "prefect-server-api"),
            Seen::service("a", "prefect"),
            Seen::service("a", "prefect-server"),
            Seen::service("a", "prefect-api"),
        ];
        assert!(across(&seen).is_empty());
    }
}
