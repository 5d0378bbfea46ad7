//! Where the server is in its life.

use std::sync::Arc;

use tokio::sync::watch;

/// The stages of a server, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Keys or ports are still missing.
    Starting,
    /// Ready.
    Serving,
    /// Asked to end: not ready any more, but everything is answered until the drain is over.
    Draining,
    /// No new connections; what is under way is finished.
    Closing,
}

/// The stage, shared by everything that acts on it.
#[derive(Debug, Clone)]
pub struct Phase(Arc<watch::Sender<Stage>>);

impl Phase {
    /// A server that is starting.
    pub fn new() -> Phase {
        Phase(Arc::new(watch::Sender::new(Stage::Starting)))
    }

    /// Goes on to `stage`; never back.
    pub fn enter(&self, stage: Stage) {
        self.0.send_if_modified(|now| {
            let later = stage > *now;
            *now = stage.max(*now);
            later
        });
    }

    /// Whether reviews are to be sent here.
    pub fn ready(&self) -> bool {
        *self.0.borrow() == Stage::Serving
    }

    /// Whether answers should end their connections.
    pub fn draining(&self) -> bool {
        *self.0.borrow() >= Stage::Draining
    }

    /// Waits until `stage` has begun.
    pub async fn reached(&self, stage: Stage) {
        let mut changes = self.0.subscribe();
        changes.wait_for(|now| *now >= stage).await.expect("the sender lives in `self`");
    }
}

impl Default for Phase {
    fn default() -> Self {
        Phase::new()
    }
}
