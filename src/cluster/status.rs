//! Where the migration of each Prefect server stands: a verdict on its template, joined with the states of its pods.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DeploymentStatus, StatefulSetStatus};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::core::ApiResource;
use serde::de::DeserializeOwned;

use super::list::{self, ClusterError, Collection, Listed, controller};
use crate::decision::{Decision, Endpoint, Exemption, decide};
use crate::kubernetes::object::classify;
use crate::migration::container::NAME;
use crate::policy::Policy;
use crate::review::request::Request;
use crate::rule::FixAvailability;
use crate::text::one_line;

/// Longest reason that is kept.
const REASON: usize = 400;

/// Where the migration of one server stands, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing runs that would be migrated.
    Idle,
    /// The initContainer of every pod ended well.
    Migrated,
    /// An initContainer is at work.
    Migrating,
    /// A pod, or its initContainer, has not started.
    Waiting,
    /// An initContainer failed or cannot start; the kubelet tries again.
    Failing,
    /// The template has the initContainer, but not as the guard would write it today.
    Drifted,
    /// The template has no migration at all.
    NotGuarded,
}

impl State {
    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Migrated => "migrated",
            State::Migrating => "migrating",
            State::Waiting => "waiting",
            State::Failing => "failing",
            State::Drifted => "drifted",
            State::NotGuarded => "not guarded",
        }
    }
}

/// One server, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Server {
    /// `Deployment`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The image that migrates, or that would.
    pub image: String,
    /// Where it stands.
    pub state: State,
    /// Since when, in seconds since 1970.
    pub since: Option<i64>,
    /// Why, where there is something to say.
    pub reason: String,
    /// Pods of the present template that were looked at.
    pub pods: usize,
    /// What its author's annotations exempt it from, where they do.
    pub exemption: Option<Exemption>,
}

/// Reads every server in the namespace, or in all of them. Beside the result, one page of objects is the most that
/// is held.
///
/// # Errors
/// When the cluster cannot be read.
pub async fn read(
    client: &Client,
    namespace: Option<&str>,
    policy: &Policy,
    progress: &mut dyn FnMut(usize, &str),
) -> Result<Vec<Server>, ClusterError> {
    let mut resources = list::workloads();
    resources.retain(|resource| resource.group == "apps");
    resources.extend(list::more(client, policy.kinds()).await?);
    let mut workloads = Vec::new();
    for resource in &resources {
        let keep = |json: &str| {
            let listed = list::mentions_prefect(json).then(|| Listed::read(resource, json)).transpose()?;
            Ok(listed.and_then(|listed| Workload::read(resource, &listed, policy)))
        };
        let mut tell = |read| progress(read, &resource.plural);
        workloads.extend(Collection { resource, namespace }.list(client, &keep, &mut tell).await?);
    }
    let pods = match workloads.iter().any(|workload| workload.migration.is_some()) {
        true => read_pods(client, namespace, progress).await?,
        false => BTreeMap::new(),
    };
    let mut servers: Vec<Server> = workloads
        .into_iter()
        .map(|workload| {
            let key = (workload.namespace.clone(), workload.kind.clone(), workload.name.clone());
            workload.stands(pods.get(&key).map_or(&[], Vec::as_slice))
        })
        .collect();
    servers.sort_by(|a, b| (&a.namespace, &a.name, &a.kind).cmp(&(&b.namespace, &b.name, &b.kind)));
    Ok(servers)
}

/// Namespace, kind and name of the workload that a pod belongs to.
type Owner = (String, String, String);

async fn read_pods(
    client: &Client,
    namespace: Option<&str>,
    progress: &mut dyn FnMut(usize, &str),
) -> Result<BTreeMap<Owner, Vec<Attempt>>, ClusterError> {
    let resource = list::known::<Pod>();
    let keep = |json: &str| {
        let pod = json.contains(NAME).then(|| serde_json::from_str::<Pod>(json)).transpose()?;
        Ok(pod.as_ref().and_then(Attempt::read))
    };
    let mut tell = |read| progress(read, "pods");
    let found = Collection { resource: &resource, namespace }.list(client, &keep, &mut tell).await?;
    let mut pods: BTreeMap<Owner, Vec<Attempt>> = BTreeMap::new();
    for (owner, attempt) in found {
        pods.entry(owner).or_default().push(attempt);
    }
    Ok(pods)
}

/// What is kept of a workload with a Prefect server in it.
struct Workload {
    kind: String,
    namespace: String,
    name: String,
    image: String,
    /// The image of our initContainer, where the template has one.
    migration: Option<String>,
    /// What the guard would do with the template.
    verdict: Verdict,
    exemption: Option<Exemption>,
    created: Option<i64>,
    rollout: Rollout,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Nothing: it is as it would be written.
    AsItIs,
    /// It would be written otherwise.
    Changes,
    /// It would be reported for a missing migration.
    Missing,
}

/// How far the controller is with the present template.
#[derive(Default)]
struct Rollout {
    seen: bool,
    wanted: i32,
    updated: i32,
    /// The revision of the present template, where pods carry it.
    revision: Option<String>,
    /// Why no pod can be made.
    trouble: Option<String>,
}

impl Workload {
    fn read(resource: &ApiResource, listed: &Listed, policy: &Policy) -> Option<Workload> {
        let text = listed.object.to_string();
        let request = Request::of_manifest(&text).ok()?;
        let mutation = decide(Endpoint::Mutate, &request, policy).ok()?;
        if mutation.servers == 0 {
            return None;
        }
        let validation = decide(Endpoint::Validate, &request, policy).ok()?;
        let found = classify(&request.kind, policy.kinds())?;
        let spec: PodSpec = at(listed, &format!("{}/spec", found.template))?;
        let ours = spec.init_containers.iter().flatten().find(|container| container.name == NAME);
        let migration = ours.map(|container| container.image.clone().unwrap_or_default());
        let images = || spec.containers.iter().filter_map(|container| container.image.as_deref());
        let image = migration.as_deref().or_else(|| images().find(|image| image.contains("prefect")));
        Some(Workload {
            kind: resource.kind.clone(),
            namespace: listed.metadata.namespace.clone().unwrap_or_default(),
            name: listed.metadata.name.clone().unwrap_or_default(),
            image: one_line(image.or_else(|| images().next()).unwrap_or_default(), REASON),
            verdict: verdict(&mutation, migration.is_some(), &validation),
            exemption: validation.exemption(),
            migration,
            created: seconds(listed.metadata.creation_timestamp.as_ref()),
            rollout: Rollout::read(listed),
        })
    }

    fn stands(self, pods: &[Attempt]) -> Server {
        let present: Vec<&Attempt> = pods
            .iter()
            .filter(|pod| Some(&pod.image) == self.migration.as_ref())
            .filter(|pod| self.rollout.revision.is_none() || pod.revision == self.rollout.revision)
            .collect();
        let (state, since, reason) = self.state(&present);
        let Workload { kind, namespace, name, image, exemption, .. } = self;
        Server { kind, namespace, name, image, state, since, reason, pods: present.len(), exemption }
    }

    fn state(&self, pods: &[&Attempt]) -> (State, Option<i64>, String) {
        let since_creation = |state, reason: &str| (state, self.created, reason.to_owned());
        match (self.verdict, &self.migration) {
            (Verdict::Missing, None) => {
                return since_creation(
                    State::NotGuarded,
                    "its template has no migration; apply it again, or see `audit`",
                );
            }
            (_, None) if self.verdict == Verdict::Changes => {
                return since_creation(
                    State::NotGuarded,
                    "its template has no migration yet; apply it again",
                );
            }
            (_, None) => return since_creation(State::Idle, "it brings its own migration, or needs none"),
            (Verdict::AsItIs, Some(_)) => {}
            (_, Some(_)) => {
                let reason = "its migration is not what the guard would write today; apply it again";
                return since_creation(State::Drifted, reason);
            }
        }
        let Rollout { seen, wanted, updated, trouble, .. } = &self.rollout;
        if *wanted == 0 {
            return since_creation(State::Idle, "scaled to zero; it migrates when it starts");
        }
        if !seen {
            return since_creation(State::Waiting, "its controller has not seen the last change yet");
        }
        let Some(worst) = pods.iter().max_by_key(|pod| (pod.state, pod.since)) else {
            return since_creation(
                State::Waiting,
                trouble.as_deref().unwrap_or("no pod of the present template yet"),
            );
        };
        if worst.state == State::Migrated && updated < wanted {
            let reason = format!("{updated} of {wanted} pods are of the present template");
            return (State::Waiting, worst.since, reason);
        }
        (worst.state, worst.since, worst.reason.clone())
    }
}

fn verdict(mutation: &Decision, ours: bool, validation: &Decision) -> Verdict {
    if !mutation.operations.is_empty() {
        return Verdict::Changes;
    }
    if ours {
        return Verdict::AsItIs;
    }
    // Whoever opted out, or is only audited, has no operations and is listed all the same.
    let exempted = validation.exempted.iter().copied();
    let mut rules = validation.findings.iter().map(|finding| finding.rule).chain(exempted);
    if rules.any(|rule| rule.fix == FixAvailability::Injects) { Verdict::Missing } else { Verdict::AsItIs }
}

impl Rollout {
    fn read(listed: &Listed) -> Rollout {
        let number = |pointer: &str| at::<i32>(listed, pointer);
        let generation = listed.metadata.generation.unwrap_or_default();
        let observed = at::<i64>(listed, "/status/observedGeneration");
        let status: StatefulSetStatus = at(listed, "/status").unwrap_or_default();
        let conditions: DeploymentStatus = at(listed, "/status").unwrap_or_default();
        let failure = conditions.conditions.into_iter().flatten().find(|condition| {
            condition.type_.as_deref() == Some("ReplicaFailure")
                && condition.status.as_deref() == Some("True")
        });
        Rollout {
            // A kind that does not say what it has seen is taken at its word.
            seen: observed.is_none_or(|observed| observed >= generation)
                && listed.object.get("status").is_some(),
            wanted: number("/spec/replicas").unwrap_or(1),
            updated: status.updated_replicas.unwrap_or_default(),
            revision: status.update_revision.filter(|_| listed.object["kind"] == "StatefulSet"),
            trouble: failure.and_then(|failure| failure.message).map(|text| one_line(&text, REASON)),
        }
    }
}

/// One pod's try at the migration.
struct Attempt {
    image: String,
    revision: Option<String>,
    state: State,
    since: Option<i64>,
    reason: String,
}

impl Attempt {
    /// What is kept of a pod with our initContainer, and whose it is.
    fn read(pod: &Pod) -> Option<(Owner, Attempt)> {
        let (spec, status) = (pod.spec.as_ref()?, pod.status.clone().unwrap_or_default());
        let ours = spec.init_containers.iter().flatten().find(|container| container.name == NAME)?;
        let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        if pod.metadata.deletion_timestamp.is_some() || over {
            return None;
        }
        let created = seconds(pod.metadata.creation_timestamp.as_ref());
        let containers = status.init_container_statuses.unwrap_or_default();
        let (state, since, reason) = match containers.iter().find(|container| container.name == NAME) {
            Some(container) => of_container(container, &containers, created),
            None => {
                let unscheduled = status
                    .conditions
                    .into_iter()
                    .flatten()
                    .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
                let message = unscheduled.and_then(|condition| condition.message);
                let reason = message.map_or("its pod has not started".to_owned(), |text| {
                    format!("its pod has no node: {}", one_line(&text, REASON))
                });
                (State::Waiting, created, reason)
            }
        };
        let label = |name: &str| pod.metadata.labels.as_ref()?.get(name).cloned();
        let attempt = Attempt {
            image: ours.image.clone().unwrap_or_default(),
            revision: label("controller-revision-hash"),
            state,
            since,
            reason,
        };
        Some((owner(pod)?, attempt))
    }
}

/// The workload that made a pod: behind a ReplicaSet, by the hash that ends its name, so that nobody needs the right
/// to list ReplicaSets.
fn owner(pod: &Pod) -> Option<Owner> {
    let namespace = pod.metadata.namespace.clone()?;
    let direct = controller(&pod.metadata)?;
    if direct.kind != "ReplicaSet" {
        return Some((namespace, direct.kind.clone(), direct.name.clone()));
    }
    let labels = pod.metadata.labels.as_ref()?;
    let behind = [("pod-template-hash", "Deployment"), ("rollouts-pod-template-hash", "Rollout")];
    behind.into_iter().find_map(|(label, kind)| {
        let name = direct.name.strip_suffix(labels.get(label)?)?.strip_suffix('-')?;
        Some((namespace.clone(), kind.to_owned(), name.to_owned()))
    })
}

fn of_container(
    container: &ContainerStatus,
    all: &[ContainerStatus],
    created: Option<i64>,
) -> (State, Option<i64>, String) {
    let present = container.state.clone().unwrap_or_default();
    let last = container.last_state.clone().unwrap_or_default().terminated;
    if let Some(ended) = present.terminated {
        let since = seconds(ended.finished_at.as_ref());
        return match ended.exit_code {
            0 => (State::Migrated, since, String::new()),
            _ => (State::Failing, since, ending(&ended)),
        };
    }
    let before = last.filter(|ended| ended.exit_code != 0);
    if let Some(running) = present.running {
        let since = seconds(running.started_at.as_ref());
        let reason = before.map_or(String::new(), |ended| {
            format!("try {}; the last one: {}", container.restart_count + 1, ending(&ended))
        });
        return (State::Migrating, since, reason);
    }
    let waiting = present.waiting.unwrap_or_default();
    let reason = waiting.reason.unwrap_or_default();
    match (before, reason.as_str()) {
        (Some(ended), _) => {
            let text = format!("failed {} times: {}", container.restart_count, ending(&ended));
            (State::Failing, seconds(ended.finished_at.as_ref()).or(created), text)
        }
        (None, "" | "PodInitializing" | "ContainerCreating") => {
            (State::Waiting, created, held_up(all).unwrap_or_else(|| "its pod has not started".to_owned()))
        }
        (None, _) => {
            let message = waiting.message.map(|text| format!(": {}", one_line(&hide(&text), REASON)));
            (State::Failing, created, format!("{reason}{}", message.unwrap_or_default()))
        }
    }
}

/// The initContainer before ours that has not ended.
fn held_up(all: &[ContainerStatus]) -> Option<String> {
    let before = all.iter().take_while(|container| container.name != NAME);
    let done = |container: &&ContainerStatus| {
        let ended = container.state.as_ref().and_then(|state| state.terminated.as_ref());
        ended.is_some_and(|ended| ended.exit_code == 0) || container.started == Some(true)
    };
    let slow = before.into_iter().find(|container| !done(container))?;
    let state = slow.state.clone().unwrap_or_default();
    let reason = state.waiting.and_then(|waiting| waiting.reason).map(|reason| format!(" ({reason})"));
    Some(one_line(
        &format!("initContainer `{}` comes first{}", slow.name, reason.unwrap_or_default()),
        REASON,
    ))
}

/// Endings of a migration that have a plain word, by what the message of the container says.
const CAUSES: [(&str, &str); 9] = [
    ("InvalidPasswordError", "the database refuses the user or the password"),
    ("InvalidAuthorizationSpecificationError", "the database refuses the user"),
    ("InvalidCatalogNameError", "the database is not there"),
    ("gaierror", "the database's host name is not known"),
    ("ConnectionRefusedError", "nothing listens at the database's address"),
    ("TimeoutError", "the database does not answer"),
    ("TooManyConnectionsError", "the database takes no more connections"),
    ("InsufficientPrivilegeError", "the database's user lacks a right that the migration needs"),
    ("Can't locate revision", "the database's schema is newer than this Prefect knows"),
];

/// How a container ended, in plain words and then in its own: the cause, and the last line of its message.
fn ending(ended: &k8s_openapi::api::core::v1::ContainerStateTerminated) -> String {
    let message = ended.message.as_deref().unwrap_or_default();
    let last = message.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let last = last.map(|line| one_line(&hide(line), REASON));
    let cause = CAUSES.iter().find(|(sign, _)| message.contains(sign)).map(|(_, plain)| *plain);
    let plain = match (ended.reason.as_deref(), cause) {
        (Some("OOMKilled"), _) => "killed for want of memory".to_owned(),
        (_, Some(cause)) => cause.to_owned(),
        (_, None) => format!("exit code {}", ended.exit_code),
    };
    last.map_or(plain.clone(), |last| format!("{plain} (`{last}`)"))
}

/// The text without user and password of the URLs in it.
fn hide(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(at) => {
                shown.push('…');
                &after[at..]
            }
            None => after,
        };
    }
    shown + rest
}

fn at<T: DeserializeOwned>(listed: &Listed, pointer: &str) -> Option<T> {
    T::deserialize(listed.object.pointer(pointer)?).ok()
}

fn seconds(time: Option<&Time>) -> Option<i64> {
    time.map(|Time(time)| Timestamp::as_second(*time))
}

#[cfg(test)]
mod tests {
    use super::hide;

    #[test]
    fn passwords_in_messages_are_hidden() {
        assert_eq!(hide("no postgresql://u:p@h/db there"), "no postgresql://…@h/db there");
        assert_eq!(hide("a://u:p@x@h b://k c://v:w@z"), "a://…@h b://k c://…@z");
        assert_eq!(hide("plain"), "plain");
    }
}
