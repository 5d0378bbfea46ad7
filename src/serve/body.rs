//! Reading a request's body within bounds: its size, the time it takes, and the memory of all bodies together.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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

/// The size that a body must be given room for: what it declares, or the limit when it declares nothing.
pub fn declared<B: Body>(body: &B, limit: usize) -> Result<usize, BodyError> {
    match body.size_hint().exact() {
        Some(size) => match usize::try_from(size) {
            Ok(size) if size <= limit => Ok(size),
            _ => Err(BodyError::TooLarge),
        },
        // The API server always declares the length. Whoever does not pays with a large share.
        None => Ok(limit),
    }
}

/// Reads the whole body, at most `limit` bytes. Whoever calls owns the time limit and has checked [`declared`].
pub async fn read<B>(body: &mut B, limit: usize, memory: &Memory) -> Result<Held, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let size = declared(body, limit)?;
    let known = body.size_hint().exact().is_some();
    let share = memory.take(size).await;
    let mut first: Option<Bytes> = None;
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(BodyError::Aborted) };
        let Ok(data) = frame.into_data() else { continue };
        if data.len() + buffer.len() + first.as_ref().map_or(0, Bytes::len) > limit {
            return Err(BodyError::TooLarge);
        }
        if buffer.is_empty() && first.is_none() {
            // Most bodies come in one or two pieces; a single one is used as it lies.
            first = Some(data);
            continue;
        }
        if let Some(first) = first.take() {
            // A body of unknown length grows as it arrives.
            buffer.reserve(if known { size } else { first.len() + data.len() });
            buffer.extend_from_slice(&first);
        }
        buffer.extend_from_slice(&data);
    }
    let bytes = first.unwrap_or_else(|| buffer.freeze());
    Ok(Held { bytes, _share: share })
}
