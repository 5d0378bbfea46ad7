//! Keeps the Secret of `--tls-managed` and the `caBundle` of our webhook configurations right, together with any number
//! of replicas that do the same.
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
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

use crate::telemetry::metrics::Metrics;
use crate::tls::Current;
use crate::tls::identity::{IdentityError, seconds};
use crate::tls::managed::{self, Circumstances, Material, Step};

/// For one request. An API server that takes longer is asked again at the next look.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tries against others who write at the same moment, in one look.
const TRIES: u32 = 6;

/// How often the same problem is said again.
const REMINDER: Duration = Duration::from_secs(600);

/// The name under which our fields are recorded in `managedFields`.
const MANAGER: &str = "prefect-guard";

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
    client: Client,
    plan: Plan,
    current: Arc<Current>,
    metrics: Arc<Metrics>,
    jitter: f64,
    served: Material,
    said: Option<(String, tokio::time::Instant)>,
}

/// Why something could not be kept right. The last good certificate is served all the while.
#[derive(Debug, Error)]
pub enum KeeperError {
    /// No answer.
    #[error("cannot reach the API server to {verb} {object}")]
    Unreachable {
        /// `get` or `patch`.
        verb: &'static str,
        /// What and which.
        object: String,
        /// What the client said.
        #[source]
        source: kube::Error,
    },
    /// No answer in time.
    #[error("the API server did not answer within 10 s ({verb} {object})")]
    Slow {
        /// `get` or `patch`.
        verb: &'static str,
        /// What and which.
        object: String,
    },
    /// The object is not there.
    #[error("{object} is not there; the chart renders it, and nothing here may create it")]
    Missing {
        /// What and which.
        object: String,
    },
    /// RBAC.
    #[error("not allowed to {verb} {object}; grant `get` and `patch` on it by name")]
    Forbidden {
        /// `get` or `patch`.
        verb: &'static str,
        /// What and which.
        object: String,
    },
    /// Any other answer.
    #[error("the API server answered {status} ({verb} {object})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// `get` or `patch`.
        verb: &'static str,
        /// What and which.
        object: String,
    },
    /// An answer that cannot be read.
    #[error("the API server's answer cannot be read ({object})")]
    Unreadable {
        /// What and which.
        object: String,
    },
    /// Others kept being faster.
    #[error("{object} changed under every one of our tries")]
    Contended {
        /// What and which.
        object: String,
    },
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

/// An object that we may touch.
#[derive(Clone)]
struct Target {
    path: String,
    object: String,
}

/// What became of a write.
enum Written<T> {
    Done(T),
    Conflict,
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
            client,
            plan,
            current,
            metrics,
            jitter: managed::jitter(),
            served: Material::default(),
            said: None,
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
        let now = tokio::time::Instant::now();
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
            Err(error @ (KeeperError::Unreachable { .. } | KeeperError::Slow { .. })) => return Err(error),
            other => other,
        };
        let material = self.secret(configurations.as_deref().unwrap_or_default()).await?;
        self.serve(&material)?;
        for (target, _) in configurations? {
            self.mend(&target, &material).await?;
        }
        Ok(())
    }

    /// Reads the Secret and writes it until it is as it should be.
    async fn secret(&self, configurations: &[(Target, Configuration)]) -> Result<Material, KeeperError> {
        let (namespace, name) = &self.plan.secret;
        let target = Target {
            path: format!("/api/v1/namespaces/{namespace}/secrets/{name}"),
            object: format!("Secret `{namespace}/{name}`"),
        };
        for attempt in 0..TRIES {
            let missing = || KeeperError::Missing { object: target.object.clone() };
            let (secret, now) = self.get::<Secret>(&target).await?.ok_or_else(missing)?;
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
            match self.patch::<Value>(&target, "application/merge-patch+json", &body).await? {
                Written::Done(_) => {
                    tracing::info!(authority, leaf, "wrote new certificates");
                    self.metrics.renewed(authority, leaf);
                    return Ok(wanted);
                }
                Written::Conflict => self.step_aside(attempt).await,
            }
        }
        Err(KeeperError::Contended { object: target.object })
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
    async fn configurations(&self) -> Result<Vec<(Target, Configuration)>, KeeperError> {
        let mut all = Vec::new();
        for name in &self.plan.configurations {
            let before = all.len();
            for kind in ["mutating", "validating"] {
                let target = Target {
                    path: format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations/{name}"),
                    object: format!("the {kind} webhook configuration `{name}`"),
                };
                if let Some((configuration, _)) = self.get::<Configuration>(&target).await? {
                    all.push((target, configuration));
                }
            }
            if all.len() == before {
                return Err(KeeperError::Missing { object: format!("webhook configuration `{name}`") });
            }
        }
        Ok(all)
    }

    /// Puts right the `caBundle` of each webhook of a configuration, and nothing else of it.
    async fn mend(&self, target: &Target, material: &Material) -> Result<(), KeeperError> {
        for attempt in 0..TRIES {
            let Some((configuration, now)) = self.get::<Configuration>(target).await? else { return Ok(()) };
            let mut operations = Vec::new();
            for (index, webhook) in configuration.webhooks.iter().enumerate() {
                if let Some(bundle) = managed::bundle(&webhook.bundle(), material, now) {
                    let at = format!("/webhooks/{index}");
                    operations
                        .push(json!({"op": "test", "path": format!("{at}/name"), "value": webhook.name}));
                    let path = format!("{at}/clientConfig/caBundle");
                    operations.push(json!({"op": "add", "path": path, "value": STANDARD.encode(bundle)}));
                }
            }
            if operations.is_empty() {
                return Ok(());
            }
            // The API server compares it with the object's own, as in an update.
            let version = configuration.metadata.version;
            operations.push(json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version}));
            match self.patch::<Value>(target, "application/json-patch+json", &Value::from(operations)).await?
            {
                Written::Done(_) => {
                    tracing::info!(object = target.object, "put `caBundle` right");
                    self.metrics.bundle_repairs.inc();
                    return Ok(());
                }
                Written::Conflict => self.step_aside(attempt).await,
            }
        }
        Err(KeeperError::Contended { object: target.object.clone() })
    }

    /// Lets the others finish: longer each time, and each replica differently.
    async fn step_aside(&self, attempt: u32) {
        tokio::time::sleep(Duration::from_millis(20 << attempt).mul_f64(0.5 + self.jitter)).await;
    }

    /// Reads an object and the API server's time; none where it is not there.
    async fn get<T: DeserializeOwned>(&self, target: &Target) -> Result<Option<(T, i64)>, KeeperError> {
        let request = http::Request::get(&target.path).body(Body::empty()).expect("our paths are URIs");
        let (status, now, body) = self.send(target, "get", request).await?;
        match status {
            404 => Ok(None),
            _ => Ok(Some((read(&body, target)?, now))),
        }
    }

    async fn patch<T: DeserializeOwned>(
        &self,
        target: &Target,
        media: &str,
        body: &Value,
    ) -> Result<Written<T>, KeeperError> {
        let request = http::Request::patch(format!("{}?fieldManager={MANAGER}", target.path))
            .header(http::header::CONTENT_TYPE, media)
            .body(Body::from(body.to_string().into_bytes()))
            .expect("our paths are URIs");
        let (status, _, body) = self.send(target, "patch", request).await?;
        match status {
            // 404: taken away between two requests. 422: a `test` that does not hold any more.
            404 | 409 | 422 => Ok(Written::Conflict),
            _ => Ok(Written::Done(read(&body, target)?)),
        }
    }

    /// Sends one request: status (2xx, 404, 409 or 422), the API server's time, body.
    async fn send(
        &self,
        target: &Target,
        verb: &'static str,
        request: http::Request<Body>,
    ) -> Result<(u16, i64, Vec<u8>), KeeperError> {
        let object = || target.object.clone();
        let exchange = async {
            let response = self.client.send(request).await?;
            let (head, body) = response.into_parts();
            Ok::<_, kube::Error>((head, body.collect().await?.to_bytes()))
        };
        let (head, body) = tokio::time::timeout(PATIENCE, exchange)
            .await
            .map_err(|_| KeeperError::Slow { verb, object: object() })?
            .map_err(|source| KeeperError::Unreachable { verb, object: object(), source })?;
        let date = head.headers.get(http::header::DATE).and_then(|date| date.to_str().ok());
        let now = date.and_then(http_date).unwrap_or_else(|| seconds(SystemTime::now()));
        match head.status.as_u16() {
            status @ (200..=299 | 404 | 409 | 422) => Ok((status, now, body.to_vec())),
            401 | 403 => Err(KeeperError::Forbidden { verb, object: object() }),
            status => Err(KeeperError::Refused { status, verb, object: object() }),
        }
    }
}

/// Whether every `caBundle` was seen to hold the CA that signs. Without configurations of ours nobody can tell, and
/// the hour that a new CA waits must do.
fn spread(configurations: &[(Target, Configuration)], material: &Material, plan: &Plan) -> bool {
    let mut webhooks = configurations.iter().flat_map(|(_, configuration)| &configuration.webhooks);
    (!configurations.is_empty() || plan.configurations.is_empty())
        && webhooks.all(|webhook| managed::holds_signer(&webhook.bundle(), material))
}

fn read<T: DeserializeOwned>(body: &[u8], target: &Target) -> Result<T, KeeperError> {
    // The parser's own message could quote the Secret.
    serde_json::from_slice(body).map_err(|_| KeeperError::Unreadable { object: target.object.clone() })
}

/// Reads `Mon, 23 Nov 2026 14:04:35 GMT` (RFC 9110), as seconds since 1970.
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_whitespace().skip(1);
    let day = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let year = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u8>().ok());
    let time = time::Time::from_hms(clock.next()??, clock.next()??, clock.next()??).ok()?;
    let month = time::Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = time::Date::from_calendar_date(year, month, day).ok()?;
    Some(date.with_time(time).assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::http_date;

    #[test]
    fn dates_of_answers_are_read() {
        assert_eq!(http_date("Mon, 23 Nov 2026 14:12:22 GMT"), Some(1_795_443_142));
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        for text in ["", "Mon, 23 Nov", "Mon, 32 Nov 2026 14:12:22 GMT", "Mon, 23 Nov 2026 25:12:22 GMT"] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }
}
