//! The deadlines of one connection: for a head, between requests, and for an answer that nobody reads.
//!
//! hyper's own header timeout cannot tell a slow head from an idle connection, and nothing in it ends a connection whose
//! client does not read. Here the bytes that pass note the time, and one timer looks at the note now and then.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::Limits;

/// The reason to close that calls for a goodbye: nobody did anything wrong.
pub(super) const IDLE: &str = "idle";

/// The state of one connection. Its times are milliseconds since it began, plus one: zero means never.
#[derive(Debug)]
pub(super) struct Deadlines {
    began: Instant,
    requests: AtomicU32,
    /// Bytes of a next request have arrived, or the first is still awaited.
    head: AtomicBool,
    since: AtomicU64,
    stalled: AtomicU64,
    /// Under HTTP/2 bytes may be pings and window updates: only requests count.
    bytes_mean_head: bool,
}

impl Deadlines {
    pub(super) fn new(bytes_mean_head: bool) -> Arc<Deadlines> {
        Arc::new(Deadlines {
            began: Instant::now(),
            requests: AtomicU32::new(0),
            head: AtomicBool::new(true),
            since: AtomicU64::new(1),
            stalled: AtomicU64::new(0),
            bytes_mean_head,
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn read(&self) {
        if self.bytes_mean_head
            && self.requests.load(Ordering::Relaxed) == 0
            && !self.head.swap(true, Ordering::Relaxed)
        {
            self.since.store(self.now(), Ordering::Relaxed);
        }
    }

    fn wrote(&self, pending: bool) {
        if pending {
            if self.stalled.load(Ordering::Relaxed) == 0 {
                self.stalled.store(self.now(), Ordering::Relaxed);
            }
        } else if self.stalled.load(Ordering::Relaxed) != 0 {
            self.stalled.store(0, Ordering::Relaxed);
        }
    }

    /// A request begins; it ends when the guard is dropped, however that happens.
    pub(super) fn request(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.head.store(false, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// When to look again, or why the connection is over.
    pub(super) fn check(&self, limits: &Limits) -> Result<Duration, &'static str> {
        let now = self.now();
        let left = |since: u64, limit: Duration, reason: &'static str| {
            let end = since + u64::try_from(limit.as_millis()).unwrap_or(u64::MAX / 2);
            if now >= end { Err(reason) } else { Ok(Duration::from_millis(end - now)) }
        };
        let mut next = limits.look();
        let stalled = self.stalled.load(Ordering::Relaxed);
        if stalled != 0 {
            next = next.min(left(stalled, limits.write, "write_timeout")?);
        }
        if self.requests.load(Ordering::Relaxed) == 0 {
            let since = self.since.load(Ordering::Relaxed);
            next = next.min(if self.head.load(Ordering::Relaxed) {
                left(since, limits.head, "head_timeout")?
            } else {
                left(since, limits.idle, IDLE)?
            });
        }
        Ok(next.max(Duration::from_millis(1)))
    }
}

/// A request in progress.
pub(super) struct Busy(Arc<Deadlines>);

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.since.store(self.0.now(), Ordering::Relaxed);
        }
    }
}

/// A stream that notes what passes.
pub(super) struct Watched<T> {
    inner: T,
    deadlines: Arc<Deadlines>,
}

impl<T> Watched<T> {
    pub(super) fn new(inner: T, deadlines: Arc<Deadlines>) -> Self {
        Watched { inner, deadlines }
    }
}

impl<T: Read + Unpin> Read for Watched<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.inner).poll_read(cx, buffer);
        if read.is_ready() {
            this.deadlines.read();
        }
        read
    }
}

impl<T: Write + Unpin> Write for Watched<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.deadlines.wrote(wrote.is_pending());
        wrote
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        this.deadlines.wrote(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let closed = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.deadlines.wrote(closed.is_pending());
        closed
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.deadlines.wrote(wrote.is_pending());
        wrote
    }
}
