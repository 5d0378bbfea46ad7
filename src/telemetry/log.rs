//! Log lines to standard output, through a thread of their own.
//!
//! A reader that has stopped, a full disk or a closed pipe must never hold up an admission: lines are put into a
//! bounded buffer, and what does not fit is dropped and counted. The thread writes everything it finds at once, so
//! that a busy server pays one system call for many lines.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

/// What may wait to be written: about 3 000 decisions.
const CAPACITY: usize = 1 << 20;

/// The least time between two writes of decisions, unless [`FULL`]. The first after a pause goes out at once, and so
/// does every line that is no decision. Each write takes a processor away from whoever uses it, for longer than a
/// decision takes; twenty a second are not felt.
const PACE: Duration = Duration::from_millis(50);

/// What is written without waiting for the pace: a quarter of what may wait. One client that sends one request after
/// another stays below it; with 64 KiB every 190th of its requests met a write, which was what its 99th percentile
/// showed.
const FULL: usize = CAPACITY / 4;

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// `key=value` pairs, for people.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

#[derive(Default)]
struct Buffer {
    lines: Vec<u8>,
    /// A line among them that does not wait for the pace.
    urgent: bool,
    writing: bool,
    closed: bool,
}

struct Sink {
    buffer: Mutex<Buffer>,
    changed: Condvar,
    dropped: AtomicU64,
}

/// The log of a process. Clones write to the same place.
#[derive(Clone)]
pub struct Log {
    sink: Arc<Sink>,
    format: Format,
    level: Level,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("format", &self.format)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

impl Log {
    /// A log that writes to `out` from a thread of its own.
    pub fn new(format: Format, level: Level, out: impl Write + Send + 'static) -> std::io::Result<Log> {
        let sink =
            Arc::new(Sink { buffer: Mutex::default(), changed: Condvar::new(), dropped: AtomicU64::new(0) });
        let theirs = Arc::clone(&sink);
        std::thread::Builder::new()
            .name("log".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || theirs.write_to(out))?;
        Ok(Log { sink, format, level })
    }

    /// How lines are written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether lines of this level are wanted at all.
    pub fn wants(&self, level: Level) -> bool {
        level <= self.level
    }

    /// Lines that found no room, for the metrics.
    pub fn dropped(&self) -> u64 {
        self.sink.dropped.load(Ordering::Relaxed)
    }

    /// Adds one line (with its line feed), made in place.
    pub fn line(&self, make: impl FnOnce(&mut Vec<u8>)) {
        self.sink.line(false, make);
    }

    /// Waits until everything is written, but no longer than `limit`: a stuck reader must not keep the process.
    pub fn close(&self, limit: Duration) {
        let mut buffer = self.sink.lock();
        buffer.closed = true;
        self.sink.changed.notify_all();
        let end = Instant::now() + limit;
        while buffer.writing || !buffer.lines.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            buffer = self.sink.changed.wait_timeout(buffer, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The subscriber for everything that is not a decision. Other crates are heard from `warn` upwards only: their
    /// finer levels print what they read from the network.
    pub fn subscriber(&self) -> impl tracing::Subscriber + Send + Sync + use<> {
        let targets =
            Targets::new().with_default(Level::WARN.min(self.level)).with_target("prefect_guard", self.level);
        // `log_internal_errors` would print to standard error and panic where that is closed.
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(self.clone())
            .with_ansi(false)
            .with_target(false)
            .with_timer(Clock)
            .log_internal_errors(false);
        let layer = match self.format {
            Format::Text => layer.boxed(),
            Format::Json => {
                layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
            }
        };
        tracing_subscriber::registry().with(layer.with_filter(targets))
    }
}

impl Sink {
    fn lock(&self) -> std::sync::MutexGuard<'_, Buffer> {
        // A panic while formatting leaves at worst half a line.
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, urgent: bool, make: impl FnOnce(&mut Vec<u8>)) {
        let mut buffer = self.lock();
        if buffer.lines.len() >= CAPACITY {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let before = buffer.lines.len();
        make(&mut buffer.lines);
        buffer.urgent |= urgent;
        let wakes = urgent || before == 0 || before < FULL && buffer.lines.len() >= FULL;
        drop(buffer);
        if wakes {
            self.changed.notify_all();
        }
    }

    fn write_to(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        let mut next = Instant::now();
        loop {
            let mut buffer = self.lock();
            buffer.writing = false;
            self.changed.notify_all();
            while buffer.lines.is_empty() {
                if buffer.closed {
                    return;
                }
                buffer = self.changed.wait(buffer).unwrap_or_else(PoisonError::into_inner);
            }
            let pause = next.saturating_duration_since(Instant::now());
            let waits = |buffer: &mut Buffer| buffer.lines.len() < FULL && !buffer.urgent && !buffer.closed;
            buffer = self
                .changed
                .wait_timeout_while(buffer, pause, waits)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            (buffer.writing, buffer.urgent) = (true, false);
            std::mem::swap(&mut buffer.lines, &mut batch);
            drop(buffer);
            if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
                let lines = batch.iter().filter(|byte| **byte == b'\n').count();
                self.dropped.fetch_add(lines as u64, Ordering::Relaxed);
            }
            batch.clear();
            // A burst may have made it large; an idle server gives the memory back.
            batch.shrink_to(FULL);
            next = Instant::now() + PACE;
        }
    }
}

/// A formatted event on its way into the buffer.
#[derive(Debug)]
pub struct Line<'a>(&'a Log);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.sink.line(true, |lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Time stamps of tracing's lines, the same as those of decisions.
#[derive(Debug)]
struct Clock;

impl tracing_subscriber::fmt::time::FormatTime for Clock {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        let mut stamp = Vec::with_capacity(27);
        super::timestamp::timestamp(&mut stamp, std::time::SystemTime::now());
        w.write_str(std::str::from_utf8(&stamp).unwrap_or_default())
    }
}
