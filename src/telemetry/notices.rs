//! The way from an answer to whoever writes Events: bounded, and never waited for.

use std::sync::Arc;

use tokio::sync::mpsc::{self, Receiver, Sender};

use super::metrics::{EventOutcome, Metrics};
use crate::answer::notice::Notice;

/// As many as a rollout of a large namespace makes at once.
const WAITING: usize = 256;

/// Takes notices.
#[derive(Debug, Clone)]
pub struct Notices {
    sender: Sender<Notice>,
    metrics: Arc<Metrics>,
}

/// The two ends of it.
pub fn channel(metrics: &Arc<Metrics>) -> (Notices, Receiver<Notice>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Notices { sender, metrics: Arc::clone(metrics) }, receiver)
}

impl Notices {
    /// Hands a notice on. Where too many wait already it is dropped and counted.
    pub fn take(&self, notice: Notice) {
        if self.sender.try_send(notice).is_err() {
            self.metrics.event(EventOutcome::Dropped);
        }
    }
}
