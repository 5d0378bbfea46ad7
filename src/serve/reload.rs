//! Files that are read again when their content changes: certificate and key, policy, client CA.
//!
//! By polling: kubelet swaps a symbolic link (and takes up to a minute to do so), which change notifications on the
//! file miss. A content that cannot be used is reported once and the last good one stays in force.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::telemetry::metrics::Metrics;

/// No certificate, key or policy is near this size; a wrong path may well name something that is.
const LARGEST: u64 = 1 << 20;

/// What is done with new content: takes it over, or says why not.
type Apply = Box<dyn FnMut(&[Vec<u8>]) -> Result<(), String> + Send>;

/// A set of files that make sense only together.
pub struct Watched {
    what: &'static str,
    paths: Vec<PathBuf>,
    seen: Option<Contents>,
    pending: Option<Contents>,
    apply: Apply,
}

type Contents = Result<Vec<Vec<u8>>, String>;

impl Watched {
    /// Watches `paths`, whose contents `loaded` are in force already. `what` is the label of logs and metrics.
    pub fn new(
        what: &'static str,
        paths: Vec<PathBuf>,
        loaded: Vec<Vec<u8>>,
        apply: impl FnMut(&[Vec<u8>]) -> Result<(), String> + Send + 'static,
    ) -> Watched {
        Watched { what, paths, seen: Some(Ok(loaded)), pending: None, apply: Box::new(apply) }
    }

    fn look(&mut self, metrics: &Metrics) {
        let now = self.paths.iter().map(|path| read(path)).collect::<Contents>();
        if self.seen.as_ref() == Some(&now) {
            self.pending = None;
            return;
        }
        let applied = now.as_deref().map_err(Clone::clone).and_then(|contents| (self.apply)(contents));
        match applied {
            Ok(()) => {
                tracing::info!(what = self.what, "reloaded");
                metrics.reloaded(self.what);
            }
            // Two files are not swapped in one instant: a pair that does not fit may be half of a change. It is a
            // failure when it still stands at the next look.
            Err(_) if self.pending.as_ref() != Some(&now) => {
                self.pending = Some(now);
                return;
            }
            Err(problem) => {
                tracing::error!(what = self.what, problem, "reload failed, the last good one stays in force");
                metrics.reload_failed(self.what);
            }
        }
        self.pending = None;
        self.seen = Some(now);
    }
}

/// Looks at all files every `interval`, for ever.
pub async fn watch(mut all: Vec<Watched>, interval: Duration, metrics: Arc<Metrics>) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        for watched in &mut all {
            watched.look(&metrics);
        }
    }
}

/// Reads a small file.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("`{}` is larger than 1 MiB; is this the right file?", path.display()));
    }
    Ok(bytes)
}
