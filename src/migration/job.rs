//! A migration Job made from a server's workload: the same Prefect on the same database, before the server starts.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::blocker::{self, Blocker};
use super::call;
use super::container::{self, NAME};
use super::plan::Plan;
use super::script::Wish;
use crate::kubernetes::Workload;
use crate::policy::annotations::Own;
use crate::policy::{MigrationMode, Settings};
use crate::server::Server;

/// What starts the Job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Whoever creates it, once.
    Once,
    /// Argo CD, before each sync.
    ArgoCd,
    /// Helm, before each installation and upgrade.
    Helm,
}

/// What is wanted of the Job.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// What starts it.
    pub start: Start,
    /// It only says what would be done.
    pub preview: bool,
    /// After how many seconds it is ended.
    pub deadline: Option<u32>,
}

/// Why there can be no such Job.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The file is in the server's pod.
    #[error("the server uses SQLite, whose file a Job of another pod cannot migrate")]
    Sqlite,
    /// No other container can do what the script does.
    #[error("{0}; {1}")]
    InScript(&'static str, &'static str),
    /// The proxy would keep the Job from ending, or is not there in time.
    #[error(
        "the database is reached through the container `{0}`; make it a native sidecar: an initContainer with `restartPolicy: Always`"
    )]
    Proxy(String),
    /// A claim of a StatefulSet's pod.
    #[error("the server mounts `{0}`, which is a claim of each of its own pods and can be in no Job")]
    Claim(String),
    /// Only our script can tell.
    #[error(
        "a preview needs the Python that runs Prefect in this image, which the command does not show: call Prefect by its absolute path"
    )]
    NoPython,
}

/// Fields of the pod spec that decide where and as whom the pod runs, and what it can reach.
const COPIED: [&str; 17] = [
    "serviceAccountName",
    "serviceAccount",
    "automountServiceAccountToken",
    "imagePullSecrets",
    "securityContext",
    "nodeSelector",
    "nodeName",
    "tolerations",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "hostNetwork",
    "hostAliases",
    "dnsPolicy",
    "dnsConfig",
    "enableServiceLinks",
    "os",
];

/// Makes the Job. `object` is the workload as it was written, `template` its pod template.
///
/// # Errors
/// When no Job can migrate what this server starts with.
pub fn make(
    object: &Value,
    workload: &Workload<'_>,
    (settings, own): (&Settings, &Own<'_>),
    (lead, plan): (&Server<'_>, &Plan<'_>),
    order: Order,
) -> Result<Value, Refusal> {
    refuse(workload, lead)?;
    let wish = Wish {
        mode: MigrationMode::Run,
        preview: order.preview,
        // A Job that ends well without having migrated the server's database would be worse than none.
        exempted: false,
        ..Wish::of(settings, own)
    };
    let call = call::derive(lead, &wish);
    if order.preview && !call.locked {
        return Err(Refusal::NoPython);
    }
    let rendered = container::render(lead.container, &call, &settings.migration);
    let mut migrate: Value = serde_json::from_str(rendered.get()).expect("it was just written");
    migrate["name"] = json!("migrate");
    let template = object.pointer(workload.template_pointer.as_str()).unwrap_or(&Value::Null);
    let spec = pod_spec(template, &migrate, (lead, plan), workload)?;
    let mut pod = Map::new();
    pod.insert("metadata".to_owned(), pod_metadata(&template["metadata"]));
    pod.insert("spec".to_owned(), spec);
    let mut job =
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata(object, order), "spec": {}});
    let fields = &mut job["spec"];
    fields["backoffLimit"] = json!(if order.preview { 0 } else { 3 });
    if let Some(seconds) = order.deadline {
        fields["activeDeadlineSeconds"] = json!(seconds);
    }
    if order.start == Start::Once {
        fields["ttlSecondsAfterFinished"] = json!(86_400);
    }
    fields["template"] = Value::Object(pod);
    Ok(job)
}

/// What stands in the way of a container of ours may be no reason here, and the other way round: a Job is asked for
/// just where nothing is injected.
fn refuse(workload: &Workload<'_>, lead: &Server<'_>) -> Result<(), Refusal> {
    if lead.database.is_visibly_sqlite() || lead.database.is_throwaway_sqlite() {
        return Err(Refusal::Sqlite);
    }
    match blocker::in_script(lead) {
        Some(Blocker::Unprepared(unprepared)) => {
            let (why, help) = unprepared.reason();
            Err(Refusal::InScript(why, help))
        }
        Some(Blocker::SettingInScript) => Err(Refusal::InScript(
            "a database setting comes from the server's own script, which a Job does not run",
            "set the database URL and its password in `env`, from a Secret",
        )),
        Some(Blocker::ProgramInScript) => Err(Refusal::InScript(
            "Prefect is found only in an environment that the server's own script sets up",
            "call it by its absolute path",
        )),
        _ => match blocker::ordinary_proxy(workload, lead) {
            Some(name) => Err(Refusal::Proxy(name.to_owned())),
            None => Ok(()),
        },
    }
}

/// The name of the workload, what starts the Job, and where.
fn metadata(object: &Value, order: Order) -> Value {
    let what = if order.preview { "migration-plan" } else { "migrate" };
    let name = object["metadata"]["name"].as_str().unwrap_or("prefect");
    let name = format!("{}-{what}", crate::text::clip(name, 40).trim_end_matches(['-', '.', '…']));
    let mut metadata = Map::new();
    match order.start {
        Start::Once => metadata.insert("generateName".to_owned(), json!(name + "-")),
        Start::ArgoCd | Start::Helm => metadata.insert("name".to_owned(), json!(name)),
    };
    if let Some(namespace) = object["metadata"]["namespace"].as_str() {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    let annotations = match order.start {
        Start::Once => return Value::Object(metadata),
        Start::ArgoCd => json!({
            "argocd.argoproj.io/hook": "PreSync",
            "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation",
        }),
        Start::Helm => json!({
            "helm.sh/hook": "pre-install,pre-upgrade",
            "helm.sh/hook-weight": "0",
            "helm.sh/hook-delete-policy": "before-hook-creation",
        }),
    };
    metadata.insert("annotations".to_owned(), annotations);
    Value::Object(metadata)
}

/// Not the server's labels: its Service would send requests to the Job's pod. What brings secrets and identities stays.
fn pod_metadata(metadata: &Value) -> Value {
    let kept = |map: &Value, keep: &dyn Fn(&str) -> bool| -> Map<String, Value> {
        let entries = map.as_object().into_iter().flatten().filter(|(key, _)| keep(key));
        entries.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let mut found = Map::new();
    // A mesh that the server is left out of would keep the Job's pod from ending.
    let labels = kept(&metadata["labels"], &|key| {
        key == "azure.workload.identity/use" || blocker::switches_an_injector(key)
    });
    let mut annotations = kept(&metadata["annotations"], &|key| {
        key.starts_with("vault.hashicorp.com/") || blocker::switches_an_injector(key)
    });
    if !annotations.is_empty() {
        // An agent that stays would keep the Job from ending.
        annotations.insert("vault.hashicorp.com/agent-pre-populate-only".to_owned(), json!("true"));
    }
    for (field, map) in [("labels", labels), ("annotations", annotations)] {
        if !map.is_empty() {
            found.insert(field.to_owned(), Value::Object(map));
        }
    }
    Value::Object(found)
}

fn pod_spec(
    template: &Value,
    migrate: &Value,
    (lead, plan): (&Server<'_>, &Plan<'_>),
    workload: &Workload<'_>,
) -> Result<Value, Refusal> {
    let server = &template["spec"];
    let mut spec = Map::new();
    spec.insert("restartPolicy".to_owned(), json!("Never"));
    for field in COPIED {
        if let Some(value) = server.get(field).filter(|value| !value.is_null()) {
            spec.insert(field.to_owned(), value.clone());
        }
    }
    // Away from other pods of the server says nothing about a Job.
    if let Some(affinity) = server.pointer("/affinity/nodeAffinity") {
        spec.insert("affinity".to_owned(), json!({"nodeAffinity": affinity}));
    }
    let inits = server["initContainers"].as_array().map_or(&[][..], Vec::as_slice).iter().enumerate();
    let prepares = |(index, container): &(usize, &Value)| {
        container["name"] != NAME
            && !plan.adopted.contains(index)
            && !(lead.at.init && lead.at.index == *index)
    };
    let inits: Vec<Value> = inits.filter(prepares).map(|(_, container)| container.clone()).collect();
    let volumes = volumes(&server["volumes"], inits.iter().chain([migrate]), workload)?;
    if !inits.is_empty() {
        spec.insert("initContainers".to_owned(), Value::Array(inits));
    }
    spec.insert("containers".to_owned(), json!([migrate]));
    if !volumes.is_empty() {
        spec.insert("volumes".to_owned(), Value::Array(volumes));
    }
    Ok(Value::Object(spec))
}

/// The volumes that the Job's containers mount.
fn volumes<'v>(
    all: &Value,
    containers: impl Iterator<Item = &'v Value>,
    workload: &Workload<'_>,
) -> Result<Vec<Value>, Refusal> {
    let lists = containers.flat_map(|container| [&container["volumeMounts"], &container["volumeDevices"]]);
    let mounts = lists.filter_map(Value::as_array).flatten();
    let wanted: BTreeSet<&str> = mounts.filter_map(|mount| mount["name"].as_str()).collect();
    if let Some(claim) = workload.claim_templates.iter().find(|claim| wanted.contains(&***claim)) {
        return Err(Refusal::Claim(claim.to_string()));
    }
    let all = all.as_array().map_or(&[][..], Vec::as_slice).iter();
    Ok(all
        .filter(|volume| volume["name"].as_str().is_some_and(|name| wanted.contains(name)))
        .cloned()
        .collect())
}
