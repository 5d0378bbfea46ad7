//! Reasons not to inject a migration container: where it could only mislead or hang.

use crate::policy::Settings;
use crate::rules::Server;
use crate::workload::Workload;
use crate::workload::annotations::Own;
use crate::workload::view::Annotations;

/// Why nothing is injected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// There is no Prefect server here.
    NoServer,
    /// A controller owns the object and would undo it at each reconcile.
    Controlled,
    /// `prefect-guard.io/inject: "false"`.
    OptedOut,
    /// `migration.inject: false` in the policy.
    PolicyOff,
    /// The user's own initContainer migrates.
    Adopted,
    /// The server's own script migrates before it starts the server.
    MigratesItself,
    /// SQLite in memory or on no volume: the migrated file would not be the server's.
    ThrowawaySqlite,
    /// The URL is exported by the server's shell script alone.
    UrlInScript,
    /// The database is reached through an ordinary container of the pod, which starts after all initContainers.
    OrdinaryProxy(String),
    /// Something sets up the network or the secrets after our container has run.
    NoNetwork(Hazard),
}

/// An injector that comes too late for an initContainer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hazard {
    /// Who it is.
    pub who: &'static str,
    /// The annotation to set, and its value.
    pub remedy: &'static str,
}

/// The first obstacle, in the order in which they matter to the author.
pub fn first(
    workload: &Workload<'_>,
    settings: &Settings,
    lead: &Server<'_>,
    own: &Own<'_>,
    adopted: &[usize],
) -> Option<Obstacle> {
    if workload.controlled {
        return Some(Obstacle::Controlled);
    }
    if own.opts_out(settings) {
        return Some(Obstacle::OptedOut);
    }
    if !adopted.is_empty() {
        return Some(Obstacle::Adopted);
    }
    if lead.invocation.upgrades_first() {
        return Some(Obstacle::MigratesItself);
    }
    if !settings.inject {
        return Some(Obstacle::PolicyOff);
    }
    if lead.database.is_throwaway_sqlite() {
        return Some(Obstacle::ThrowawaySqlite);
    }
    // What a wrapper in the argv sets (`env URL=…`, `op run --`) it sets for the migration too: it is copied.
    let in_script = lead.invocation.server().is_none_or(|call| call.position.is_none());
    if lead.database.is_only_in_script() && in_script {
        return Some(Obstacle::UrlInScript);
    }
    ordinary_proxy(workload, lead)
        .map(|name| Obstacle::OrdinaryProxy(name.to_owned()))
        .or_else(|| network_hazard(workload).map(Obstacle::NoNetwork))
}

/// Images of proxies to a database, by the last segment of their repository.
const PROXIES: [&str; 12] = [
    "cloud-sql-proxy",
    "cloudsql-proxy",
    "gce-proxy",
    "cloud_sql_proxy",
    "alloydb-auth-proxy",
    "alloydb-proxy",
    "pgbouncer",
    "pgcat",
    "odyssey",
    "pgpool",
    "pgpool2",
    "rds-iam-proxy",
];

/// The ordinary container through which the database is reached, if that is how it is reached.
pub fn ordinary_proxy<'w>(workload: &'w Workload<'_>, lead: &Server<'_>) -> Option<&'w str> {
    if !lead.database.may_be_local() {
        return None;
    }
    let is_proxy = |image: &str| {
        let name = image.rsplit('/').next().unwrap_or(image);
        let name = name.split(['@', ':']).next().unwrap_or(name);
        PROXIES.contains(&name) || name.contains("pgbouncer")
    };
    let spec = &workload.template.spec;
    let proxy =
        spec.containers.iter().enumerate().find(|(index, container)| {
            (lead.at.init || *index != lead.at.index) && is_proxy(&container.image)
        });
    proxy.map(|(_, container)| &*container.name)
}

/// An injector whose work an initContainer of ours would have to wait for in vain.
pub fn network_hazard(workload: &Workload<'_>) -> Option<Hazard> {
    let metadata = &workload.template.metadata;
    HAZARDS
        .iter()
        .find(|known| known.applies(&metadata.annotations, &metadata.labels))
        .map(|known| known.hazard)
}

/// How a hazard shows in a template's metadata, and what takes it away.
struct Known {
    hazard: Hazard,
    /// Annotation or label, and the values that switch the injector on.
    on: (&'static str, &'static [&'static str]),
    /// Annotations that make it harmless: `None` for any value.
    harmless: &'static [(&'static str, Option<&'static str>)],
}

impl Known {
    fn applies(&self, annotations: &Annotations<'_>, labels: &Annotations<'_>) -> bool {
        let (key, values) = self.on;
        let on =
            [annotations, labels].into_iter().filter_map(|map| map.get(key)).any(|v| values.contains(&v));
        on && !self.harmless.iter().any(|(key, wanted)| {
            annotations.get(key).is_some_and(|value| wanted.is_none_or(|wanted| value == wanted))
        })
    }
}

/// Sources: the annotation references of vault-k8s, Istio, Linkerd, Consul and Kuma.
const HAZARDS: [Known; 4] = [
    Known {
        hazard: Hazard { who: "the Vault agent", remedy: "vault.hashicorp.com/agent-init-first: \"true\"" },
        on: ("vault.hashicorp.com/agent-inject", &["true"]),
        harmless: &[("vault.hashicorp.com/agent-init-first", Some("true"))],
    },
    Known {
        hazard: Hazard {
            who: "the Istio sidecar",
            remedy: "traffic.sidecar.istio.io/excludeOutboundPorts: \"5432\"",
        },
        on: ("sidecar.istio.io/inject", &["true"]),
        harmless: &[
            ("traffic.sidecar.istio.io/excludeOutboundPorts", None),
            ("sidecar.istio.io/nativeSidecar", Some("true")),
        ],
    },
    Known {
        hazard: Hazard {
            who: "the Linkerd proxy",
            remedy: "config.linkerd.io/skip-outbound-ports: \"5432\"",
        },
        on: ("linkerd.io/inject", &["enabled", "ingress"]),
        harmless: &[
            ("config.linkerd.io/skip-outbound-ports", None),
            ("config.alpha.linkerd.io/proxy-enable-native-sidecar", Some("true")),
            ("config.beta.linkerd.io/proxy-enable-native-sidecar", Some("true")),
        ],
    },
    Known {
        hazard: Hazard {
            who: "the Consul proxy",
            remedy: "consul.hashicorp.com/transparent-proxy-exclude-outbound-ports: \"5432\"",
        },
        on: ("consul.hashicorp.com/connect-inject", &["true"]),
        harmless: &[
            ("consul.hashicorp.com/transparent-proxy-exclude-outbound-ports", None),
            ("consul.hashicorp.com/transparent-proxy", Some("false")),
        ],
    },
];
