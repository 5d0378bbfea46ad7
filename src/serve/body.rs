//! Reading a request's body within bounds: its size, the time it takes, and the memory of all bodies together.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http::{Version, header::EXPECT};
use http_body_util::{BodyExt, LengthLimitError};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

/// Bodies up to this size have memory of their own. An ordinary review has 4 to 30 KB.
pub(super) const SMALL: usize = 64 << 10;

/// The memory for all bodies that are held at once.
///
/// A body's whole declared size is taken before its first byte is read and given back with its answer. Nobody who
/// holds some ever waits for more, so there is no deadlock; those who wait are served in turn.
#[derive(Debug)]
pub struct Memory {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// A body in memory. Its share of the memory goes back when this is dropped.
#[derive(Debug)]
pub struct Held {
    /// The whole body.
    pub bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// Larger than the limit.
    TooLarge,
    /// The client went away or broke the protocol.
    Aborted,
}

impl Memory {
    /// Room for `total` bytes.
    pub fn new(total: usize) -> Memory {
        let large = Memory::large_share(total);
        Memory { small: Arc::new(Semaphore::new(total - large)), large: Arc::new(Semaphore::new(large)) }
    }

    /// What is there for bodies over 64 KiB: two thirds.
    pub fn large_share(total: usize) -> usize {
        total / 3 * 2
    }

    /// Waits for room for `size` bytes. Whoever calls owns the time limit.
    pub async fn take(&self, size: usize) -> OwnedSemaphorePermit {
        let room = if size <= SMALL { &self.small } else { &self.large };
        // An empty body takes one byte's worth, a body beyond 4 GiB never gets here (`body_size` is checked first).
        let wanted = u32::try_from(size.max(1)).unwrap_or(u32::MAX);
        Arc::clone(room).acquire_many_owned(wanted).await.expect("the semaphore is never closed")
    }
}

/// Reads the whole body, of which the layers outside let through at most `limit` bytes. Whoever calls owns the time
/// limit.
pub async fn read(mut body: Body, limit: usize, memory: &Memory) -> Result<Held, BodyError> {
    let declared = body.size_hint().exact().and_then(|size| usize::try_from(size).ok());
    // The API server always declares the length. Whoever does not pays with a share for the largest body.
    let size = declared.unwrap_or(limit);
    if size > limit {
        return Err(BodyError::TooLarge);
    }
    let share = memory.take(size).await;
    let mut first: Option<Bytes> = None;
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| read_error(&error))?.into_data() else { continue };
        if buffer.is_empty() && first.is_none() {
            // Most bodies come in one or two pieces; a single one is used as it lies.
            first = Some(data);
            continue;
        }
        if let Some(first) = first.take() {
            // A body of unknown length grows as it arrives.
            buffer.reserve(declared.unwrap_or(first.len() + data.len()));
            buffer.extend_from_slice(&first);
        }
        buffer.extend_from_slice(&data);
    }
    let bytes = first.unwrap_or_else(|| buffer.freeze());
    Ok(Held { bytes, _share: share })
}

/// Whether the body limit ended the body or the client did.
fn read_error(error: &(dyn std::error::Error + 'static)) -> BodyError {
    let mut chain = std::iter::successors(Some(error), |error| error.source());
    if chain.any(|error| error.is::<LengthLimitError>()) { BodyError::TooLarge } else { BodyError::Aborted }
}

/// How much of a refused body is still read.
const READ_ON: usize = 16 << 20;

/// A request's body that is read to its end even if it was refused, so that a client that only listens after it has
/// sent everything gets the answer and not a reset connection. That holds no memory and ends with the body's time.
#[derive(Debug)]
pub(super) struct ReadToEnd {
    inner: Body,
    until: Instant,
    ended: bool,
}

impl ReadToEnd {
    /// Wraps the body of `request`, where that helps.
    pub(super) fn wrap(request: Request, until: Instant) -> Request {
        // HTTP/2 resets the one stream. Whoever expects `100 Continue` has sent nothing yet, and reading would ask for it.
        if request.version() == Version::HTTP_2 || request.headers().contains_key(EXPECT) {
            return request;
        }
        request.map(|inner| Body::new(ReadToEnd { inner, until, ended: false }))
    }
}

impl HttpBody for ReadToEnd {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        self.ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for ReadToEnd {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.ended || self.inner.is_end_stream() || Instant::now() >= self.until {
            return;
        }
        let mut rest = std::mem::take(&mut self.inner);
        runtime.spawn(timeout_at(self.until.into(), async move {
            let mut seen = 0;
            while let Some(Ok(frame)) = rest.frame().await {
                seen += frame.data_ref().map_or(0, Bytes::len);
                if seen > READ_ON {
                    break;
                }
            }
        }));
    }
}
