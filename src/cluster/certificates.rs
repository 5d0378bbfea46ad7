//! Keeps the Secret of `--tls-managed` and the `caBundle` of the webhook configurations right.
//!
//! Any number of replicas do so together.
//!
//! No leader and no Lease: every write names the `resourceVersion` it was decided on, so of those who decide at once one
//! wins, and the others read what it wrote. A leader would add a thing that can be stuck, and all replicas must read
//! the Secret anyway.
//!
//! By polling a handful of named objects: a watch needs the right to list, and a wiped `caBundle` is put right as soon
//! by the next look. The time is the API server's (the `Date` of its answers): it is the one that judges the
//! certificate, and replicas with clocks of their own would disagree about it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json_patch::jsonptr::{PointerBuf, Token};
use json_patch::{AddOperation, PatchOperation, ReplaceOperation, TestOperation};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Patch;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::Instant;

use super::objects::{ObjectError, Objects, Target, Written};
use super::webhooks::Configuration;
use crate::telemetry::metrics::Metrics;
use crate::tls::Current;
use crate::tls::identity::IdentityError;
use crate::tls::managed::{self, Circumstances, Material, Step};

/// Tries against others who write at the same moment, in one look.
const TRIES: u32 = 6;

/// How long a CA that the Secret does not know stays in a `caBundle`: until every replica has read the Secret.
const GRACE: Duration = Duration::from_secs(3_600);

/// How often the same problem is said again.
const REMINDER: Duration = Duration::from_secs(600);

/// What to keep.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Namespace and name of the Secret.
    pub secret: (String, String),
    /// Names of our webhook configurations; each may exist as mutating, as validating, or as both.
    pub configurations: Vec<String>,
    /// DNS names and addresses of the certificate.
    pub names: Vec<String>,
    /// Between two looks.
    pub interval: Duration,
}

/// One replica's part in it.
pub struct Keeper {
    objects: Objects,
    plan: Plan,
    current: Arc<Current>,
    metrics: Arc<Metrics>,
    jitter: f64,
    served: Material,
    said: Option<(String, Instant)>,
    /// CAs that the Secret does not know, and since when we see them.
    unknown: BTreeMap<String, Instant>,
}

/// Why something could not be kept right. The last good certificate is served all the while.
#[derive(Debug, Error)]
pub enum KeeperError {
    /// An object could not be read or written.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Making(#[source] rcgen::Error),
    /// The Secret's certificate cannot be served.
    #[error("the certificate in the Secret cannot be served")]
    Unusable(#[source] IdentityError),
}

/// Our webhook configurations, as they were seen.
#[derive(Default)]
struct Configurations {
    mutating: Vec<MutatingWebhookConfiguration>,
    validating: Vec<ValidatingWebhookConfiguration>,
}

impl Configurations {
    /// The `caBundle` of every webhook.
    fn bundles(&self) -> impl Iterator<Item = &[u8]> {
        let mutating = self.mutating.iter().flat_map(Configuration::webhooks);
        let validating = self.validating.iter().flat_map(Configuration::webhooks);
        mutating.chain(validating).map(|(_, client)| bundle(client))
    }

    fn is_empty(&self) -> bool {
        self.mutating.is_empty() && self.validating.is_empty()
    }
}

fn bundle(client: &WebhookClientConfig) -> &[u8] {
    client.ca_bundle.as_ref().map_or(&[], |bytes| &bytes.0)
}

/// The certificates in a Secret; what is not there or no text is empty.
fn material(secret: &Secret) -> Material {
    let field = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key));
        bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok()).unwrap_or_default()
    };
    Material {
        authorities: field("ca.crt"),
        authority_key: field("ca.key"),
        certificate: field("tls.crt"),
        key: field("tls.key"),
    }
}

/// What a Secret with these certificates looks like, written on this version of it.
fn written(wanted: &Material, version: Option<String>) -> Secret {
    let fields = [
        ("ca.crt", &wanted.authorities),
        ("ca.key", &wanted.authority_key),
        ("tls.crt", &wanted.certificate),
        ("tls.key", &wanted.key),
    ];
    Secret {
        metadata: ObjectMeta { resource_version: version, ..ObjectMeta::default() },
        data: Some(fields.map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes()))).into()),
        ..Secret::default()
    }
}

/// A client by the account of the pod, or by `KUBECONFIG`. Nothing is asked of it yet.
pub async fn client() -> anyhow::Result<Client> {
    let mut config = kube::Config::infer().await?;
    // The keeper has its own pace and says what is wrong; a retry below it would only hide both.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

impl Keeper {
    /// A keeper that serves what it keeps through `current`.
    pub fn new(client: Client, plan: Plan, current: Arc<Current>, metrics: Arc<Metrics>) -> Keeper {
        Keeper {
            objects: Objects(client),
            plan,
            current,
            metrics,
            jitter: managed::jitter(),
            served: Material::default(),
            said: None,
            unknown: BTreeMap::new(),
        }
    }

    /// Looks again and again, for ever. `ready` is called when there is a certificate to serve.
    pub async fn run(mut self, ready: impl FnOnce()) {
        let mut ready = Some(ready);
        let mut failures = 0;
        loop {
            match self.look().await {
                Ok(()) => {
                    failures = 0;
                    self.said = None;
                }
                Err(error) => {
                    failures += 1;
                    self.complain(error);
                }
            }
            if self.current.get().is_some()
                && let Some(ready) = ready.take()
            {
                ready();
            }
            tokio::time::sleep(self.pause(failures)).await;
        }
    }

    /// The interval, spread a little between replicas; after a failure a second first, then twice as long each time.
    fn pause(&self, failures: u32) -> Duration {
        let wait = match failures {
            0 => self.plan.interval,
            some => self.plan.interval.min(Duration::from_secs(1 << (some - 1).min(10))),
        };
        wait.mul_f64(0.9 + 0.2 * self.jitter)
    }

    fn complain(&mut self, error: KeeperError) {
        self.metrics.kubernetes_errors.inc();
        let problem = format!("{:#}", anyhow::Error::from(error));
        let now = Instant::now();
        let again = self.said.as_ref().is_none_or(|(said, at)| *said != problem || now - *at > REMINDER);
        if again {
            tracing::error!(problem, "cannot keep the certificate and `caBundle` right");
            self.said = Some((problem, now));
        }
    }

    /// Looks once at everything and puts right what is not.
    pub async fn look(&mut self) -> Result<(), KeeperError> {
        let configurations = match self.configurations().await {
            // Whoever cannot be reached for the one cannot be reached for the other.
            Err(error @ (ObjectError::Unreachable { .. } | ObjectError::Slow { .. })) => {
                return Err(error.into());
            }
            other => other,
        };
        let seen = configurations.as_ref().ok();
        let (material, problem) = match self.secret(seen.unwrap_or(&Configurations::default())).await {
            Ok(material) => (material, None),
            // Without its Secret the replica serves on what it has. API servers must go on to trust that, so the
            // `caBundle` is kept right by the CA in memory until somebody brings the Secret back.
            Err(problem) if self.served != Material::default() => (self.served.clone(), Some(problem)),
            Err(problem) => return Err(problem),
        };
        let repaired = match configurations {
            Ok(configurations) => self.repair_all(&configurations, &material, problem.is_none()).await,
            Err(error) => Err(error.into()),
        };
        if let Some(problem) = problem {
            return Err(problem);
        }
        // A leaf of a CA that the API servers do not know for long enough waits for the next look, if there is
        // another one to serve.
        if !matches!(repaired, Ok(true)) || self.served == Material::default() {
            self.serve(&material)?;
        }
        repaired.map(drop)
    }

    /// Puts every `caBundle` right; whether one was not. Where the Secret was not read (`known` is false) nobody can
    /// tell whose CA the others are: all of them stay.
    async fn repair_all(
        &mut self,
        configurations: &Configurations,
        material: &Material,
        known: bool,
    ) -> Result<bool, KeeperError> {
        let now = Instant::now();
        let seen: Vec<String> = match known {
            true => {
                configurations.bundles().flat_map(|bundle| managed::unknown_cas(bundle, material)).collect()
            }
            false => Vec::new(),
        };
        self.unknown.retain(|authority, _| seen.contains(authority));
        for authority in seen {
            self.unknown.entry(authority).or_insert(now);
        }
        let revoked: Vec<String> = self
            .unknown
            .iter()
            .filter(|(_, since)| now - **since > GRACE)
            .map(|(authority, _)| authority.clone())
            .collect();
        let mut repaired = false;
        for configuration in &configurations.mutating {
            repaired |= self.repair(configuration, material, &revoked).await?;
        }
        for configuration in &configurations.validating {
            repaired |= self.repair(configuration, material, &revoked).await?;
        }
        Ok(repaired)
    }

    /// Reads the Secret and writes it until it is as it should be.
    async fn secret(&self, configurations: &Configurations) -> Result<Material, KeeperError> {
        let (namespace, name) = &self.plan.secret;
        let target = Target::<Secret>::new(Some(namespace), name, format!("Secret `{namespace}/{name}`"));
        for attempt in 0..TRIES {
            let missing = || ObjectError::Missing { object: target.object.clone() };
            let (secret, now) = self.objects.get(&target).await?.ok_or_else(missing)?;
            let material = material(&secret);
            let circumstances = Circumstances {
                names: self.plan.names.clone(),
                now,
                jitter: self.jitter,
                spread: spread(configurations, &material, &self.plan),
            };
            let (wanted, authority, leaf) =
                match managed::plan(&material, &circumstances).map_err(KeeperError::Making)? {
                    Step::Keep => return Ok(material),
                    Step::Write { material, authority, leaf } => (material, authority, leaf),
                };
            let patch = Patch::Merge(written(&wanted, secret.metadata.resource_version));
            match self.objects.patch(&target, &patch).await? {
                Written::Done => {
                    tracing::info!(authority, leaf, "wrote new certificates");
                    self.metrics.renewed(authority, leaf);
                    return Ok(wanted);
                }
                Written::Conflict => self.step_aside(attempt).await,
            }
        }
        Err(ObjectError::Contended { object: target.object }.into())
    }

    fn serve(&mut self, material: &Material) -> Result<(), KeeperError> {
        if self.served != *material {
            let identity = managed::identity(material).map_err(KeeperError::Unusable)?;
            self.metrics.certificate_until(identity.not_after);
            self.current.replace(identity);
            self.served = material.clone();
        }
        Ok(())
    }

    /// Our webhook configurations, as they are.
    async fn configurations(&self) -> Result<Configurations, ObjectError> {
        let mut all = Configurations::default();
        for name in &self.plan.configurations {
            let mutating = self.objects.get(&configuration(name)).await?;
            let validating = self.objects.get(&configuration(name)).await?;
            if mutating.is_none() && validating.is_none() {
                return Err(ObjectError::Missing { object: format!("webhook configuration `{name}`") });
            }
            all.mutating.extend(mutating.map(|(found, _)| found));
            all.validating.extend(validating.map(|(found, _)| found));
        }
        Ok(all)
    }

    /// Puts right the `caBundle` of each webhook of a configuration, and nothing else of it; whether it had to.
    async fn repair<K>(&self, seen: &K, material: &Material, revoked: &[String]) -> Result<bool, ObjectError>
    where
        K: Configuration + Resource<DynamicType = ()> + DeserializeOwned,
    {
        let target = configuration::<K>(Configuration::metadata(seen).name.as_deref().unwrap_or_default());
        for attempt in 0..TRIES {
            let Some((current, now)) = self.objects.get(&target).await? else {
                return Ok(false);
            };
            let Some(patch) = repair(&current, material, now, revoked) else { return Ok(false) };
            match self.objects.patch(&target, &Patch::Json::<()>(patch)).await? {
                Written::Done => {
                    tracing::info!(object = target.object, "put `caBundle` right");
                    self.metrics.bundle_repairs.inc();
                    return Ok(true);
                }
                Written::Conflict => self.step_aside(attempt).await,
            }
        }
        Err(ObjectError::Contended { object: target.object })
    }

    /// Lets the others finish: longer each time, and each replica differently.
    async fn step_aside(&self, attempt: u32) {
        tokio::time::sleep(Duration::from_millis(20 << attempt).mul_f64(0.5 + self.jitter)).await;
    }
}

fn configuration<K: Configuration + Resource<DynamicType = ()>>(name: &str) -> Target<K> {
    Target::new(None, name, format!("the {} webhook configuration `{name}`", K::SORT))
}

/// The patch that puts every `caBundle` of a configuration right, where one is not.
fn repair<K: Configuration>(
    configuration: &K,
    material: &Material,
    now: i64,
    revoked: &[String],
) -> Option<json_patch::Patch> {
    let mut operations = Vec::new();
    for (index, (name, client)) in configuration.webhooks().into_iter().enumerate() {
        if let Some(wanted) = managed::bundle(bundle(client), material, now, revoked) {
            let webhook = PointerBuf::from_tokens([Token::new("webhooks"), Token::from(index)]);
            operations.push(PatchOperation::Test(TestOperation {
                path: webhook.with_trailing_token("name"),
                value: name.into(),
            }));
            operations.push(PatchOperation::Add(AddOperation {
                path: webhook.with_trailing_token("clientConfig").with_trailing_token("caBundle"),
                value: STANDARD.encode(wanted).into(),
            }));
        }
    }
    if operations.is_empty() {
        return None;
    }
    // The API server compares it with the object's own, as in an update.
    operations.push(PatchOperation::Replace(ReplaceOperation {
        path: PointerBuf::from_tokens(["metadata", "resourceVersion"]),
        value: Configuration::metadata(configuration).resource_version.clone().into(),
    }));
    Some(json_patch::Patch(operations))
}

/// Whether every `caBundle` was seen to hold the CA that signs. Without configurations of ours nobody can tell, and
/// the hour that a new CA waits must do.
fn spread(configurations: &Configurations, material: &Material, plan: &Plan) -> bool {
    (!configurations.is_empty() || plan.configurations.is_empty())
        && configurations.bundles().all(|bundle| managed::holds_signer(bundle, material))
}
