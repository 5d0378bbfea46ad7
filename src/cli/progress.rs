//! A line of progress, on a terminal and only there (`check`, `audit`, `eject`).

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Often enough to look alive, seldom enough to cost nothing.
const EVERY: Duration = Duration::from_millis(100);

/// The line. It is wiped when this goes out of scope.
#[derive(Debug)]
pub(super) struct Progress {
    on: bool,
    started: Instant,
    drawn: Option<Instant>,
}

impl Progress {
    /// Shown when the standard error is a terminal.
    pub(super) fn new() -> Self {
        Progress { on: std::io::stderr().is_terminal(), started: Instant::now(), drawn: None }
    }

    /// Says where the work is. Nothing is drawn for what is over in an instant.
    pub(super) fn at(&mut self, done: usize, of: Option<usize>, what: &str) {
        let due = self.drawn.unwrap_or(self.started).elapsed() >= EVERY;
        if !self.on || !due {
            return;
        }
        self.drawn = Some(Instant::now());
        let what: String = crate::text::one_line(what, 50);
        let total = of.map(|of| format!("/{of}")).unwrap_or_default();
        let _ = write!(std::io::stderr(), "\r\x1b[2K{done}{total} {what}");
    }

    /// Wipes the line, so that output can follow.
    pub(super) fn wipe(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.wipe();
    }
}
