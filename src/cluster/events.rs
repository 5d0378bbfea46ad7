//! Writes an Event for each notice. The right to `create` them is all that it takes.
//!
//! The name of an Event is made from what it says, so that of all replicas and of all repeats one wins, and the API
//! server tells the others that it is there (409). It is gone after the API server's `--event-ttl`, an hour by default;
//! what is refused again then makes a new one.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

use super::list::status;
use crate::answer::notice::Notice;
use crate::telemetry::metrics::{EventOutcome, Metrics};
use crate::text::clip;

/// Who writes.
const COMPONENT: &str = "prefect-guard";

/// For one write. What takes longer is lost: nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two writes: at most ten a second, whatever is refused.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a repeat is not even sent.
const REPEAT: Duration = Duration::from_secs(600);

/// How many are remembered for that.
const REMEMBERED: usize = 1_024;

/// How often a problem is logged.
const REMINDER: Duration = Duration::from_secs(600);

/// Writes what comes in.
pub struct Writer {
    client: Client,
    notices: Receiver<Notice>,
    metrics: Arc<Metrics>,
    /// The names of Events that are there, oldest first, and since when we know.
    written: VecDeque<(String, Instant)>,
    complained: Option<Instant>,
}

impl Writer {
    /// A writer of what comes out of `notices`.
    pub fn new(client: Client, notices: Receiver<Notice>, metrics: Arc<Metrics>) -> Writer {
        Writer { client, notices, metrics, written: VecDeque::new(), complained: None }
    }

    /// Writes until nobody can send any more.
    pub async fn run(mut self) {
        while let Some(notice) = self.notices.recv().await {
            let outcome = self.write(&notice).await;
            self.metrics.event(outcome);
        }
    }

    async fn write(&mut self, notice: &Notice) -> EventOutcome {
        let event = event(notice, SystemTime::now());
        let name = format!("{}/{}", notice.namespace, event.metadata.name.as_deref().unwrap_or_default());
        let now = Instant::now();
        while self.written.front().is_some_and(|(_, since)| now - *since > REPEAT) {
            self.written.pop_front();
        }
        if self.written.iter().any(|(known, _)| *known == name) {
            return EventOutcome::Repeated;
        }
        let outcome = self.create(&notice.namespace, &event).await;
        if outcome != EventOutcome::Failed {
            if self.written.len() == REMEMBERED {
                self.written.pop_front();
            }
            self.written.push_back((name, now));
        }
        tokio::time::sleep(PAUSE).await;
        outcome
    }

    async fn create(&mut self, namespace: &str, event: &Event) -> EventOutcome {
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let parameters = PostParams::default();
        let problem = match tokio::time::timeout(PATIENCE, api.create(&parameters, event)).await {
            Ok(Ok(_)) => return EventOutcome::Written,
            Ok(Err(error)) => match status(&error) {
                Some(409) => return EventOutcome::Repeated,
                Some(code) => format!("the API server answered {code}"),
                None => "the API server cannot be reached".to_owned(),
            },
            Err(_) => "the API server did not answer within 10 s".to_owned(),
        };
        if self.complained.is_none_or(|since| since.elapsed() > REMINDER) {
            self.complained = Some(Instant::now());
            tracing::warn!(namespace, problem, "cannot write an Event; `--events` needs `create` on events");
        }
        EventOutcome::Failed
    }
}

/// A notice as an Event of `v1`, which `kubectl describe` and `kubectl events` read.
pub fn event(notice: &Notice, now: SystemTime) -> Event {
    let Notice { reason, api_version, kind, namespace, name, uid, message } = notice;
    let time = Timestamp::try_from(now).ok().map(Time);
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:016x}", clip_name(name), fingerprint(notice))),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(api_version.clone()),
            kind: Some(kind.clone()),
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
            uid: uid.clone(),
            ..ObjectReference::default()
        },
        type_: Some("Warning".to_owned()),
        reason: Some(reason.as_str().to_owned()),
        message: Some(message.clone()),
        source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: None }),
        reporting_component: Some(COMPONENT.to_owned()),
        count: Some(1),
        first_timestamp: time.clone(),
        last_timestamp: time,
        ..Event::default()
    }
}

/// Room for the fingerprint in a name of 253 characters, which may not end its parts with a dot or a dash.
fn clip_name(name: &str) -> String {
    clip(name, 230).trim_end_matches(['…', '.', '-']).to_owned()
}

/// The same number for the same notice on every replica of one release.
fn fingerprint(notice: &Notice) -> u64 {
    let mut hasher = DefaultHasher::new();
    notice.hash(&mut hasher);
    hasher.finish()
}
