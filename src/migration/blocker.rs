//! Reasons not to inject a migration container: where it could only mislead or hang.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::ops::Deref;

use super::call;
use super::container::NAME;
use super::preparation::{self, Need};
use crate::kubernetes::kind::Owner;
use crate::kubernetes::pod::Annotations;
use crate::kubernetes::{Container, Workload};
use crate::policy::Settings;
use crate::policy::annotations::Own;
use crate::prefect::asyncpg::Address;
use crate::server::Server;
use crate::text::basename;

/// Why nothing is injected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocker {
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
    /// A setting of the database comes from the server's shell script alone.
    SettingInScript,
    /// Prefect is called in an environment that the server's script sets up: no other container can call it so.
    ProgramInScript,
    /// The server's script prepares what a migration needs, and a migration cannot do the same.
    Unprepared(Unprepared),
    /// An ordinary container has the reserved name.
    NameTaken,
    /// The database is reached through an ordinary container of the pod, which starts after all initContainers.
    OrdinaryProxy(String),
    /// Something sets up the network or the secrets after our container has run.
    NoNetwork(Hazard),
}

impl Blocker {
    /// Whether it prevents what was wanted, in place of saying that nobody wants or needs it.
    pub fn prevents(&self) -> bool {
        match self {
            Blocker::Controlled
            | Blocker::SettingInScript
            | Blocker::ProgramInScript
            | Blocker::Unprepared(_)
            | Blocker::NameTaken
            | Blocker::OrdinaryProxy(_)
            | Blocker::NoNetwork(_) => true,
            Blocker::NoServer
            | Blocker::OptedOut
            | Blocker::PolicyOff
            | Blocker::Adopted
            | Blocker::MigratesItself
            | Blocker::ThrowawaySqlite => false,
        }
    }
}

/// What only the server's own script prepares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unprepared {
    /// It installs Prefect.
    InstallsPrefect,
    /// It installs packages, and does more than prepare.
    Installs,
    /// It starts what answers at the database's address.
    StartsProxy,
}

impl Unprepared {
    /// Why no migration is injected, and what to do about it.
    pub fn reason(self) -> (&'static str, &'static str) {
        match self {
            Unprepared::InstallsPrefect => (
                "the server's own script installs Prefect, so no other container has it",
                "build an image that holds Prefect, and call it there",
            ),
            Unprepared::Installs => (
                "the server's own script installs packages, and does more than an initContainer may repeat",
                "build an image that holds these packages",
            ),
            Unprepared::StartsProxy => (
                "the server's own script starts what leads to the database, which an initContainer does not run",
                "run it as a native sidecar: an initContainer with `restartPolicy: Always`",
            ),
        }
    }
}

/// An injector that comes too late for an initContainer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hazard {
    /// Who it is.
    pub who: &'static str,
    /// The annotation to set, and its value.
    pub remedy: &'static str,
}

/// Whether a controller owns the object that would undo a mutation.
pub(super) fn is_controlled(workload: &Workload<'_>, settings: &Settings) -> bool {
    let lets = |owner: &Owner<'_>| {
        let known = &settings.migration.controllers;
        known.iter().any(|known| *known.kind == *owner.kind && *known.group == *owner.group())
    };
    workload.controller.as_ref().is_some_and(|owner| !lets(owner))
}

/// The first blocker, in the order in which they matter to the author.
pub fn first(
    workload: &Workload<'_>,
    settings: &Settings,
    lead: &Server<'_>,
    own: &Own<'_>,
    adopted: &[usize],
) -> Option<Blocker> {
    if is_controlled(workload, settings) {
        return Some(Blocker::Controlled);
    }
    if own.opts_out(settings) {
        return Some(Blocker::OptedOut);
    }
    if !adopted.is_empty() {
        return Some(Blocker::Adopted);
    }
    if lead.invocation.upgrades_first() {
        return Some(Blocker::MigratesItself);
    }
    if !settings.inject {
        return Some(Blocker::PolicyOff);
    }
    if workload.template.spec.containers.iter().any(|container| &*container.name == NAME) {
        return Some(Blocker::NameTaken);
    }
    if lead.database.is_throwaway_sqlite() {
        return Some(Blocker::ThrowawaySqlite);
    }
    if let Some(blocker) = in_script(lead) {
        return Some(blocker);
    }
    ordinary_proxy(workload, lead)
        .map(|name| Blocker::OrdinaryProxy(name.to_owned()))
        .or_else(|| network_hazard(workload).map(Blocker::NoNetwork))
}

/// What the server's script does that a migration outside of it cannot do.
pub(super) fn in_script(lead: &Server<'_>) -> Option<Blocker> {
    if !call::is_known(lead) {
        return Some(match preparation::of(lead).installs_prefect {
            true => Blocker::Unprepared(Unprepared::InstallsPrefect),
            false => Blocker::ProgramInScript,
        });
    }
    let unprepared = match preparation::needed(lead)? {
        Need::Proxy => Unprepared::StartsProxy,
        _ if preparation::repeated(lead).is_some() => return None,
        Need::Setting => return Some(Blocker::SettingInScript),
        Need::Packages => Unprepared::Installs,
        // The file may be about something else.
        Need::File => return None,
    };
    Some(Blocker::Unprepared(unprepared))
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

/// The ordinary container through which the database is reached, if that is how it is reached. Where the address is in
/// the pod itself, whatever answers there is an ordinary container of it: nothing else of the pod runs by then.
pub fn ordinary_proxy<'w>(workload: &'w Workload<'_>, lead: &Server<'_>) -> Option<&'w str> {
    if !lead.database.may_be_local() {
        return None;
    }
    let spec = &workload.template.spec;
    let is_proxy = |image: &str| {
        let name = basename(image);
        let name = name.split(['@', ':']).next().unwrap_or(name);
        PROXIES.contains(&name) || name.contains("pgbouncer")
    };
    let others = || {
        let all = spec.containers.iter().enumerate();
        all.filter(|(index, _)| lead.at.init || *index != lead.at.index).map(|(_, container)| container)
    };
    let mounted = LazyCell::new(|| lead.container.volume_mounts.iter().map(|mount| &*mount.name).collect());
    let known = others().find(|container| is_proxy(&container.image));
    let found = known.or_else(|| others().find(|container| may_answer(workload, lead, container, &mounted)));
    found.map(|container| &*container.name)
}

/// What answers at an address of a pod: databases and proxies of any kind, by the last segment of their repository.
const ANSWERING: [&str; 10] = [
    "postgres",
    "postgresql",
    "postgis",
    "timescaledb",
    "pgvector",
    "haproxy",
    "envoy",
    "nginx",
    "stunnel",
    "socat",
];

/// Whether `other` may be what answers at a visible address within the pod: a database or a proxy, or whatever else
/// there is where no sidecar could answer either.
fn may_answer<'m>(
    workload: &Workload<'_>,
    lead: &Server<'_>,
    other: &Container<'_>,
    mounted: &impl Deref<Target = BTreeSet<&'m str>>,
) -> bool {
    let spec = &workload.template.spec;
    let reachable = match lead.database.local_address() {
        // On the node's network, what answers may be the node's.
        Some(Address::Loopback) => !spec.host_network,
        Some(Address::Socket) => shares_an_empty_dir(workload, mounted, other),
        _ => false,
    };
    let repository = basename(&other.image);
    let answers = ANSWERING.iter().any(|name| repository.split(['@', ':', '-']).next() == Some(name));
    let has_sidecar = spec.init_containers().iter().any(|container| container.is_native_sidecar());
    reachable && (answers || (!has_sidecar && other.image != lead.container.image))
}

/// Whether a container mounts one of these volumes, and nothing outside the pod can put a socket into it.
fn shares_an_empty_dir(workload: &Workload<'_>, mounted: &BTreeSet<&str>, other: &Container<'_>) -> bool {
    let is_empty_dir =
        |name: &str| workload.volume(name).is_some_and(|volume| matches!(&*volume.source, "" | "emptyDir"));
    other.volume_mounts.iter().any(|mount| mounted.contains(&*mount.name) && is_empty_dir(&mount.name))
}

/// An injector whose work an initContainer of ours would have to wait for in vain.
pub fn network_hazard(workload: &Workload<'_>) -> Option<Hazard> {
    let metadata = &workload.template.metadata;
    HAZARDS
        .iter()
        .find(|known| known.applies(&metadata.annotations, &metadata.labels))
        .map(|known| known.hazard)
}

/// Whether an annotation or label switches one of these injectors on or off.
pub(super) fn switches_an_injector(key: &str) -> bool {
    HAZARDS.iter().any(|known| known.on.0 == key || known.off == Some(key))
}

/// How a hazard shows in a template's metadata, and what takes it away.
struct Known {
    hazard: Hazard,
    /// Annotation or label, and the values that switch the injector on; a label of any value where none is named.
    on: (&'static str, &'static [&'static str]),
    /// Annotation or label that switches it off all the same.
    off: Option<&'static str>,
    /// Annotations that make it harmless: `None` for any value.
    harmless: &'static [(&'static str, Option<&'static str>)],
}

impl Known {
    fn applies(&self, annotations: &Annotations<'_>, labels: &Annotations<'_>) -> bool {
        let (key, values) = self.on;
        let either = |key: &str| [annotations.get(key), labels.get(key)].into_iter().flatten();
        let on = match values {
            [] => labels.get(key).is_some_and(|value| !value.is_empty()),
            values => either(key).any(|value| values.contains(&value)),
        };
        let off = self.off.is_some_and(|key| either(key).any(|value| matches!(value, "false" | "disabled")));
        on && !off
            && !self.harmless.iter().any(|(key, wanted)| {
                annotations.get(key).is_some_and(|value| wanted.is_none_or(|wanted| value == wanted))
            })
    }
}

/// Sources: the annotation references of vault-k8s, Istio, Linkerd, Consul and Kuma.
const HAZARDS: [Known; 6] = [
    Known {
        hazard: Hazard { who: "the Vault agent", remedy: "vault.hashicorp.com/agent-init-first: \"true\"" },
        on: ("vault.hashicorp.com/agent-inject", &["true"]),
        off: None,
        harmless: &[("vault.hashicorp.com/agent-init-first", Some("true"))],
    },
    Known {
        hazard: Hazard {
            who: "the Istio sidecar",
            remedy: "traffic.sidecar.istio.io/excludeOutboundPorts: \"5432\"",
        },
        on: ("sidecar.istio.io/inject", &["true"]),
        off: None,
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
        off: None,
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
        off: None,
        harmless: &[
            ("consul.hashicorp.com/transparent-proxy-exclude-outbound-ports", None),
            ("consul.hashicorp.com/transparent-proxy", Some("false")),
        ],
    },
    Known {
        hazard: Hazard {
            who: "the Istio sidecar",
            remedy: "traffic.sidecar.istio.io/excludeOutboundPorts: \"5432\"",
        },
        on: ("istio.io/rev", &[]),
        off: Some("sidecar.istio.io/inject"),
        harmless: &[
            ("traffic.sidecar.istio.io/excludeOutboundPorts", None),
            ("sidecar.istio.io/nativeSidecar", Some("true")),
        ],
    },
    Known {
        hazard: Hazard {
            who: "the Kuma sidecar",
            remedy: "traffic.kuma.io/exclude-outbound-ports: \"5432\"",
        },
        on: ("kuma.io/sidecar-injection", &["enabled", "true"]),
        off: None,
        harmless: &[("traffic.kuma.io/exclude-outbound-ports", None)],
    },
];
