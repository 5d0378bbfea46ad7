//! Keeps the Secret of `--tls-managed` and the `caBundle` of the webhook configurations right.
//!
//! Any number of replicas do so together.
//!
//! No leader and no Lease: every write names the `resourceVersion` it was decided on, so of those who decide at once one
//! wins, and the others read what it wrote. A leader would add a thing that can be stuck, and all replicas must read
//! the Secret anyway.
//!
//! By polling a handful of named objects: a watch needs the right to list, and a wiped `caBundle` is mended as soon
//! by the next look. The time is the API server's (the `Date` of its answers): it is the one that judges the
//! certificate, and replicas with clocks of their own would disagree about it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::Instant;

use super::objects::{ObjectError, Objects, Target, Written};
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
    strangers: BTreeMap<String, Instant>,
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

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "resourceVersion")]
    version: String,
}

#[derive(Deserialize)]
struct Secret {
    metadata: Metadata,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Configuration {
    metadata: Metadata,
    #[serde(default)]
    webhooks: Vec<Webhook>,
}

#[derive(Deserialize)]
struct Webhook {
    name: String,
    #[serde(rename = "clientConfig", default)]
    client: ClientConfig,
}

#[derive(Deserialize, Default)]
struct ClientConfig {
    #[serde(rename = "caBundle", default)]
    bundle: Option<String>,
}

impl Webhook {
    fn bundle(&self) -> Vec<u8> {
        self.client.bundle.as_deref().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default()
    }
}

impl Secret {
    fn material(&self) -> Material {
        let field = |key: &str| {
            let text = self.data.as_ref().and_then(|data| data.get(key));
            let bytes = text.and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
            String::from_utf8(bytes).unwrap_or_default()
        };
        Material {
            authorities: field("ca.crt"),
            authority_key: field("ca.key"),
            certificate: field("tls.crt"),
            key: field("tls.key"),
        }
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
            strangers: BTreeMap::new(),
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
        let material = self.secret(configurations.as_deref().unwrap_or_default()).await?;
        let mended = match configurations {
            Ok(configurations) => self.mend_all(&configurations, &material).await,
            Err(error) => Err(error.into()),
        };
        // A leaf of a CA that the API servers have only just been told of waits for the next look, if there is
        // another one to serve.
        if !matches!(mended, Ok(true)) || self.served == Material::default() {
            self.serve(&material)?;
        }
        mended.map(drop)
    }

    /// Puts every `caBundle` right; whether one was not.
    async fn mend_all(
        &mut self,
        configurations: &[(Target, Configuration)],
        material: &Material,
    ) -> Result<bool, KeeperError> {
        let now = Instant::now();
        let webhooks = configurations.iter().flat_map(|(_, configuration)| &configuration.webhooks);
        let seen: Vec<String> =
            webhooks.flat_map(|webhook| managed::unknown_cas(&webhook.bundle(), material)).collect();
        self.strangers.retain(|stranger, _| seen.contains(stranger));
        for stranger in seen {
            self.strangers.entry(stranger).or_insert(now);
        }
        let banished: Vec<String> = self
            .strangers
            .iter()
            .filter(|(_, since)| now - **since > GRACE)
            .map(|(stranger, _)| stranger.clone())
            .collect();
        let mut mended = false;
        for (target, _) in configurations {
            mended |= self.mend(target, material, &banished).await?;
        }
        Ok(mended)
    }

    /// Reads the Secret and writes it until it is as it should be.
    async fn secret(&self, configurations: &[(Target, Configuration)]) -> Result<Material, KeeperError> {
        let (namespace, name) = &self.plan.secret;
        let target = Target {
            path: format!("/api/v1/namespaces/{namespace}/secrets/{name}"),
            object: format!("Secret `{namespace}/{name}`"),
        };
        for attempt in 0..TRIES {
            let missing = || ObjectError::Missing { object: target.object.clone() };
            let (secret, now) = self.objects.get::<Secret>(&target).await?.ok_or_else(missing)?;
            let material = secret.material();
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
            let body = json!({
                "metadata": {"resourceVersion": secret.metadata.version},
                "data": {
                    "ca.crt": STANDARD.encode(&wanted.authorities),
                    "ca.key": STANDARD.encode(&wanted.authority_key),
                    "tls.crt": STANDARD.encode(&wanted.certificate),
                    "tls.key": STANDARD.encode(&wanted.key),
                },
            });
            match self.objects.patch::<Value>(&target, "application/merge-patch+json", &body).await? {
                Written::Done(_) => {
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
    async fn configurations(&self) -> Result<Vec<(Target, Configuration)>, ObjectError> {
        let mut all = Vec::new();
        for name in &self.plan.configurations {
            let before = all.len();
            for kind in ["mutating", "validating"] {
                let target = Target {
                    path: format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations/{name}"),
                    object: format!("the {kind} webhook configuration `{name}`"),
                };
                if let Some((configuration, _)) = self.objects.get::<Configuration>(&target).await? {
                    all.push((target, configuration));
                }
            }
            if all.len() == before {
                return Err(ObjectError::Missing { object: format!("webhook configuration `{name}`") });
            }
        }
        Ok(all)
    }

    /// Puts right the `caBundle` of each webhook of a configuration, and nothing else of it; whether it had to.
    async fn mend(
        &self,
        target: &Target,
        material: &Material,
        banished: &[String],
    ) -> Result<bool, ObjectError> {
        for attempt in 0..TRIES {
            let Some((configuration, now)) = self.objects.get::<Configuration>(target).await? else {
                return Ok(false);
            };
            let mut operations = Vec::new();
            for (index, webhook) in configuration.webhooks.iter().enumerate() {
                if let Some(bundle) = managed::bundle(&webhook.bundle(), material, now, banished) {
                    let at = format!("/webhooks/{index}");
                    operations
                        .push(json!({"op": "test", "path": format!("{at}/name"), "value": webhook.name}));
                    let path = format!("{at}/clientConfig/caBundle");
                    operations.push(json!({"op": "add", "path": path, "value": STANDARD.encode(bundle)}));
                }
            }
            if operations.is_empty() {
                return Ok(false);
            }
            // The API server compares it with the object's own, as in an update.
            let version = configuration.metadata.version;
            operations.push(json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version}));
            match self
                .objects
                .patch::<Value>(target, "application/json-patch+json", &Value::from(operations))
                .await?
            {
                Written::Done(_) => {
                    tracing::info!(object = target.object, "put `caBundle` right");
                    self.metrics.bundle_repairs.inc();
                    return Ok(true);
                }
                Written::Conflict => self.step_aside(attempt).await,
            }
        }
        Err(ObjectError::Contended { object: target.object.clone() })
    }

    /// Lets the others finish: longer each time, and each replica differently.
    async fn step_aside(&self, attempt: u32) {
        tokio::time::sleep(Duration::from_millis(20 << attempt).mul_f64(0.5 + self.jitter)).await;
    }
}

/// Whether every `caBundle` was seen to hold the CA that signs. Without configurations of ours nobody can tell, and
/// the hour that a new CA waits must do.
fn spread(configurations: &[(Target, Configuration)], material: &Material, plan: &Plan) -> bool {
    let mut webhooks = configurations.iter().flat_map(|(_, configuration)| &configuration.webhooks);
    (!configurations.is_empty() || plan.configurations.is_empty())
        && webhooks.all(|webhook| managed::holds_signer(&webhook.bundle(), material))
}
