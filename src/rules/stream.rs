//! What the rules over several objects know of each object.
//!
//! Facts, so that a stream of any length is never held.

use std::collections::{BTreeMap, BTreeSet};

use super::psg402_replicas_without_redis as redis;
use super::{Server, Subject, loopback, problems};
use crate::environment::HIDDEN;
use crate::kubernetes::Class;
use crate::kubernetes::reach;
use crate::prefect::url::{Port, SQLALCHEMY, Url};
use crate::rule::{Place, Sensitive};

/// What is known of one object of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its namespace.
    pub namespace: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it is where it is a Service, `None` for other kinds.
    pub service: Option<Service>,
    /// The labels of its pods.
    pub labels: BTreeMap<String, String>,
    /// Whether it is a Job or a CronJob.
    pub is_job: bool,
    /// Whether its pods get variables for each Service of the namespace.
    pub service_links: bool,
    /// The containers with a Prefect in them: the servers first, then those that run a database command, then what
    /// else a script starts.
    pub containers: Vec<Member>,
}

/// What is known of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The labels of the pods it sends to.
    pub selector: BTreeMap<String, String>,
    /// The ports of those pods that it sends to, as far as they are given by number.
    pub ports: BTreeSet<i64>,
}

impl Service {
    /// Whether it sends anything to pods with these labels; one without a selector is somebody else's to connect.
    pub fn sends_to(&self, labels: &BTreeMap<String, String>) -> bool {
        let mut selector = self.selector.iter();
        !self.selector.is_empty() && selector.all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// A container with a Prefect in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// Where it is.
    pub place: Place,
    /// Where its image is.
    pub image_place: Place,
    /// Its image as written.
    pub image: String,
    /// Whether it is a server.
    pub is_server: bool,
    /// Whether it is an ordinary container that migrates, and no server.
    pub migrates: bool,
    /// The database that it uses, where that can be told from others.
    pub database: Option<Sensitive>,
    /// The variables of Prefect that its `env` defines, as written.
    pub variables: BTreeSet<String>,
    /// What it would have to share if there were more of it, in backticks; `None` unless it is one whole server on
    /// PostgreSQL.
    pub unshared: Option<Vec<String>>,
    /// The port on which it listens for its own pod only, where nothing else in its pod could listen for others and no
    /// part of the workload says that others come.
    pub loopback_port: Option<i64>,
}

impl Seen {
    /// What a Service contributes; `text` is the object.
    pub fn service(namespace: &str, name: &str, text: &str) -> Self {
        let read = reach::Service::of(text);
        let service = Service {
            name: name.to_owned(),
            selector: owned(read.selector()),
            ports: read.ports().collect(),
        };
        Seen { namespace: namespace.to_owned(), service: Some(service), ..Seen::default() }
    }

    /// What a workload contributes.
    pub fn workload(subject: &Subject<'_>, namespace: &str, name: &str) -> Self {
        let servers = subject.servers.iter().map(|server| member(subject, server, true));
        let others = problems::users(subject).skip(subject.servers.len());
        Seen {
            namespace: namespace.to_owned(),
            kind: subject.workload.kind.to_string(),
            name: name.to_owned(),
            service: None,
            labels: owned(subject.workload.template.metadata.labels.iter()),
            is_job: subject.workload.class == Class::Job,
            service_links: subject.workload.template.spec.service_links(),
            containers: servers.chain(others.map(|other| member(subject, other, false))).collect(),
        }
    }

    /// Whether `other` is another object; the same may be there twice, rendered for two places.
    pub fn is_another(&self, other: &Seen) -> bool {
        (&self.kind, &self.name) != (&other.kind, &other.name)
    }

    /// Where a finding of this object may be.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.containers.iter().flat_map(|member| [&member.place, &member.image_place])
    }
}

fn owned<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)>) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn member(subject: &Subject<'_>, server: &Server<'_>, is_server: bool) -> Member {
    let names = server.environment.variables().map(|variable| variable.name);
    let is_prefect = |name: &&str| name.get(..8).is_some_and(|head| head.eq_ignore_ascii_case("PREFECT_"));
    let alone = subject.workload.replicas.is_none_or(|replicas| replicas <= 1);
    let whole = is_server && alone && redis::is_on_postgres(server) && redis::part(server).is_none();
    Member {
        place: subject.place(server.at),
        image_place: subject.place_of(server.at, "image"),
        image: server.container.image.to_string(),
        is_server,
        database: database(server),
        migrates: !server.at.init && server.invocation.is_migration(),
        variables: names.filter(is_prefect).map(str::to_owned).collect(),
        loopback_port: is_server.then(|| loopback::unasked_port(subject, server)).flatten(),
        unshared: whole.then(|| redis::unshared(server, true)),
    }
}

/// What the database of a server is known by: host, port and name, or where its URL is kept.
fn database(server: &Server<'_>) -> Option<Sensitive> {
    let index = server.database.decided_by?;
    let value = server.environment.value(index);
    if value.is_hidden() {
        let position = server.environment.position_in_manifest(index)?;
        let from = server.container.env.get(position)?.value_from.as_ref()?;
        let (kind, key) = match (&from.secret_key_ref, &from.config_map_key_ref) {
            (Some(key), _) => ("Secret", key),
            (_, Some(key)) => ("ConfigMap", key),
            _ => return None,
        };
        return Some(Sensitive::new(format!("{kind}/{}/{}", &*key.name, &*key.key)));
    }
    let url = Url::parse(&value.text, &SQLALCHEMY)?;
    let port = match url.port {
        None => 5432,
        Some(Port::Number(port)) => port,
        Some(Port::Hidden | Port::Broken) => return None,
    };
    let (host, name) = (url.host?, url.database.as_deref()?);
    let visible = !host.contains(HIDDEN) && !name.contains(HIDDEN);
    let shared = visible && server.database.local_address().is_none();
    shared.then(|| Sensitive::new(format!("{host}:{port}/{name}")))
}
