//! Settings with which Prefect starts, and which do something else than they say.

use super::asyncpg::Address;
use super::elsewhere;
use super::problem::{Fault, Misleading, Target};
use super::reader::Reader;
use super::settings::{API_DATABASE, Field, SERVER_DATABASE};
use super::url::{Port, Url};
use super::values::{boolean, integer};
use crate::environment::Source;

/// Switches of `prefect-aws` and `prefect-azure` for a login by the cloud's identity
/// (`prefect_aws/settings.py`, `prefect_azure/settings.py`): both are plugins.
const LOGINS: [&str; 2] = [
    "PREFECT_INTEGRATIONS_AWS_RDS_IAM_ENABLED",
    "PREFECT_INTEGRATIONS_AZURE_POSTGRES_MANAGED_IDENTITY_ENABLED",
];

/// Usual ports of poolers that hold a connection for one transaction: Supabase's and PgBouncer's.
const POOLERS: [i64; 2] = [6543, 6432];

/// What several processes share, with the value that keeps it in the memory of one.
const SHARED: [(Field, &str); 5] = [
    (Field::MessagingBroker, "prefect.server.utilities.messaging.memory"),
    (Field::MessagingCache, "prefect.server.utilities.messaging.memory"),
    (Field::CausalOrdering, "prefect.server.events.ordering.memory"),
    (Field::LeaseStorage, "prefect.server.concurrency.lease_storage.memory"),
    (Field::DocketUrl, "memory://"),
];

impl Reader<'_> {
    /// Notes every setting that misleads.
    pub(super) fn misleading(&mut self, target: &Target) {
        self.unread();
        if let Target::Postgres(address) = target {
            self.idle_tls();
            self.unlimited_pool();
            if *address == Address::Loopback {
                self.alone_on_loopback();
            }
            self.logins();
        }
    }

    fn mislead(&mut self, variable: usize, how: Misleading) {
        if !self.problems.iter().any(|problem| problem.variable == Some(variable)) {
            self.report(variable, Fault::Misleading(how));
        }
    }

    /// Whether the container's own words may use a variable of this name.
    fn is_used(&self, name: &str) -> bool {
        let container = self.reading.container;
        let reference = format!("$({name})");
        let own = self.environment();
        let mut words = container.argv();
        self.reading.invocation.unreadable
            || words.any(|word| word.contains(name))
            || own.variables().any(|variable| own.written(variable.index).contains(&reference))
    }

    /// Names under the prefixes of the database that no release reads.
    fn unread(&mut self) {
        const LOOKED_AT: usize = 64;
        let environment = self.environment();
        let behind = |name: &str| {
            let prefix = [SERVER_DATABASE, API_DATABASE].into_iter().find(|prefix| {
                name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
            })?;
            Some(name[prefix.len()..].to_ascii_uppercase())
        };
        let unread = environment
            .variables()
            .filter(|variable| {
                variable.source != Source::CommandLine && Field::named(variable.name).is_none()
            })
            .filter_map(|variable| Some((variable, behind(variable.name)?)))
            .filter(|(_, rest)| !is_of_a_service(rest))
            .take(LOOKED_AT);
        let found: Vec<(usize, Misleading)> = unread
            .filter(|(variable, _)| !self.is_used(variable.name))
            .map(|(variable, rest)| {
                let meant = rest.strip_suffix("_FILE").and_then(|rest| {
                    Field::named(&format!("{SERVER_DATABASE}{rest}")).map(|(field, _)| field)
                });
                (variable.index, meant.map_or(Misleading::Unread, Misleading::File))
            })
            .collect();
        for (index, how) in found {
            self.mislead(index, how);
        }
    }

    /// Settings of TLS that are ignored (`AsyncPostgresConfiguration.engine`).
    fn idle_tls(&mut self) {
        let set = |field: Field| self.settings.get(field).filter(|_| self.says_something(field));
        let (ca, cert, key) = (set(Field::TlsCaFile), set(Field::TlsCertFile), set(Field::TlsKeyFile));
        if !self.overrides().tls && !self.groups_are_hidden() {
            let files = [ca, cert, key, set(Field::TlsCheckHostname)];
            let unseen = elsewhere::origin_of(self, Field::TlsEnabled).is_some();
            if let Some(index) = files.into_iter().flatten().next().filter(|_| !unseen) {
                self.mislead(index, Misleading::TlsOff);
            }
            return;
        }
        let (lonely, other) = match (cert, key) {
            (Some(cert), None) => (cert, Field::TlsKeyFile),
            (None, Some(key)) => (key, Field::TlsCertFile),
            _ => return,
        };
        if elsewhere::origin_of(self, other).is_none() && !self.groups_are_hidden() {
            self.mislead(lonely, Misleading::HalfCertificate);
        }
    }

    fn says_something(&self, field: Field) -> bool {
        self.value(field).is_some_and(|value| !value.text.is_empty())
    }

    /// Whether a group of settings is given as JSON: it may say more than is looked at here.
    fn groups_are_hidden(&self) -> bool {
        self.settings.all().any(|(field, _)| field.is_group())
    }

    fn unlimited_pool(&mut self) {
        let overflow = self.value(Field::MaxOverflow).and_then(|value| integer(&value.text));
        if let Some(index) = self.settings.get(Field::MaxOverflow).filter(|_| overflow == Some(-1)) {
            self.mislead(index, Misleading::NoLimit);
        }
    }

    /// The port of a pooler in the URL at `text`, with prepared statements left on.
    pub(super) fn pooler(&mut self, index: usize, text: &str) {
        let Some(url) = Url::parse(text, self.reading.grammar) else { return };
        let Some(Port::Number(port)) = url.port else { return };
        let unseen =
            elsewhere::origin_of(self, Field::StatementCacheSize).is_some() || self.groups_are_hidden();
        if POOLERS.contains(&port) && !self.overrides().statement_cache_size && !unseen {
            self.report(index, Fault::Misleading(Misleading::Pooler(port)));
        }
    }

    /// Nothing in the pod could answer at `localhost`. A webhook may add a proxy, so this is never sure.
    fn alone_on_loopback(&mut self) {
        let spec = &self.reading.workload.template.spec;
        let sidecar = spec.init_containers().iter().any(|container| container.is_native_sidecar());
        let alone = spec.containers.len() == 1 && !sidecar && !spec.host_network;
        let started = self.reading.invocation.shell || self.reading.invocation.unreadable;
        let Some(index) = self.settings.get(Field::Url).or(self.settings.get(Field::Host)) else { return };
        if alone && !started {
            self.mislead(index, Misleading::Loopback);
        }
    }

    /// A login by a cloud's identity is the work of a plugin, and none runs unless they are switched on.
    fn logins(&mut self) {
        let wanted = Field::PluginsEnabled.name_for(self.version);
        let on = self.value(Field::PluginsEnabled).is_some_and(|value| boolean(&value.text) != Some(false));
        if on || elsewhere::origin_of(self, Field::PluginsEnabled).is_some() {
            return;
        }
        for name in LOGINS {
            let Some(variable) = self.environment().get(name) else { continue };
            if boolean(&self.environment().value(variable.index).text) == Some(true) {
                self.mislead(variable.index, Misleading::NoPlugins(wanted));
            }
        }
    }

    /// What stays in the memory of one process, by settings that are visible.
    pub(super) fn in_memory(&self) -> Vec<Field> {
        let left = |(field, memory): &(Field, &str)| match self.value(*field) {
            Some(value) => value.text == *memory,
            None => {
                elsewhere::origin_of(self, *field).is_none() && self.settings.get(Field::ServerJson).is_none()
            }
        };
        let known = |field: Field| {
            self.version.is_none_or(|version| {
                field.setting().names.iter().any(|name| !version.is_older_than(name.since))
            })
        };
        SHARED.iter().filter(|shared| known(shared.0) && left(shared)).map(|(field, _)| *field).collect()
    }
}

/// `…_PORT_5432_TCP`, `…_SERVICE_HOST`: what the kubelet sets for a Service.
fn is_of_a_service(rest: &str) -> bool {
    rest.starts_with("SERVICE_")
        || rest.starts_with("PORT_")
        || rest.contains("_SERVICE_")
        || rest.contains("_PORT_")
}
