//! Reads from a socket in larger steps than TLS asks for.
//!
//! rustls reads 4 KiB at a time, so that a review of 13 KB takes four system calls. Here one call fills a buffer and
//! the others are answered from it. Connections borrow the buffer for as long as something is left in it, which is
//! while one request is read; so a handful serves all of them, and where none is left a connection reads as before.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One TLS record, or the whole of an ordinary review.
const SIZE: usize = 17 << 10;

/// Buffers of one listener, a megabyte at most: clients that stall in the middle of a body may hold that many.
const MOST: usize = 64;

/// The buffers that the connections of one listener share.
#[derive(Default)]
pub(super) struct Pool(Mutex<Buffers>);

#[derive(Default)]
struct Buffers {
    /// One that is in use all the time is enough to keep.
    spare: Option<Box<[u8]>>,
    lent: usize,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Buffers> {
        // Nothing that could panic happens under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty buffer, if there is one left.
    fn borrow(self: &Arc<Self>) -> Option<Rest> {
        let mut buffers = self.lock();
        if buffers.lent == MOST {
            return None;
        }
        buffers.lent += 1;
        let spare = buffers.spare.take();
        drop(buffers);
        let buffer = spare.unwrap_or_else(|| vec![0; SIZE].into_boxed_slice());
        Some(Rest { pool: Arc::clone(self), buffer, from: 0, to: 0 })
    }
}

/// What was read and not yet asked for.
struct Rest {
    pool: Arc<Pool>,
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
}

impl Rest {
    /// Hands out as much as is wanted. True when nothing is left.
    fn hand_out(&mut self, wanted: &mut ReadBuf<'_>) -> bool {
        let end = self.to.min(self.from + wanted.remaining());
        wanted.put_slice(&self.buffer[self.from..end]);
        self.from = end;
        self.from == self.to
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut buffers = self.pool.lock();
        buffers.lent -= 1;
        buffers.spare.get_or_insert(buffer);
    }
}

/// A stream that reads ahead.
pub(super) struct WideReads<T> {
    inner: T,
    pool: Arc<Pool>,
    rest: Option<Rest>,
}

impl<T> WideReads<T> {
    pub(super) fn new(inner: T, pool: &Arc<Pool>) -> Self {
        WideReads { inner, pool: Arc::clone(pool), rest: None }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WideReads<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        wanted: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut rest = match this.rest.take() {
            Some(rest) => rest,
            None if wanted.remaining() >= SIZE => return Pin::new(&mut this.inner).poll_read(cx, wanted),
            None => {
                let Some(mut rest) = this.pool.borrow() else {
                    return Pin::new(&mut this.inner).poll_read(cx, wanted);
                };
                let mut buffer = ReadBuf::new(&mut rest.buffer);
                std::task::ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buffer))?;
                rest.to = buffer.filled().len();
                rest
            }
        };
        if !rest.hand_out(wanted) {
            this.rest = Some(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WideReads<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, slices)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use std::sync::Arc;

    use super::{MOST, Pool, SIZE, WideReads};

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index % 251) as u8).collect()
    }

    #[test]
    fn what_goes_in_comes_out_however_it_is_asked_for() {
        run(async {
            let pool = Arc::new(Pool::default());
            for step in [1, 7, 4096, SIZE, 3 * SIZE] {
                let sent = bytes(3 * SIZE + 5);
                let (mut client, server) = tokio::io::duplex(2 * SIZE);
                let text = sent.clone();
                let writing = tokio::spawn(async move { client.write_all(&text).await });
                let mut stream = WideReads::new(server, &pool);
                let mut got = Vec::new();
                let mut chunk = vec![0; step];
                loop {
                    let read = stream.read(&mut chunk).await.unwrap();
                    if read == 0 {
                        break;
                    }
                    got.extend_from_slice(&chunk[..read]);
                }
                writing.await.unwrap().unwrap();
                assert_eq!(got, sent, "{step}");
            }
        });
    }

    #[test]
    fn connections_beyond_the_buffers_read_all_the_same() {
        run(async {
            let pool = Arc::new(Pool::default());
            let mut streams = Vec::new();
            for _ in 0..MOST + 5 {
                let (mut client, server) = tokio::io::duplex(64);
                client.write_all(b"ab").await.unwrap();
                drop(client);
                let mut stream = WideReads::new(server, &pool);
                // Leaves one byte unread, and so keeps a buffer.
                assert_eq!(stream.read_u8().await.unwrap(), b'a');
                streams.push(stream);
            }
            assert_eq!(streams.iter().filter(|stream| stream.rest.is_some()).count(), MOST);
            for mut stream in streams {
                assert_eq!(stream.read_u8().await.unwrap(), b'b');
                assert!(stream.read_u8().await.is_err(), "the end is the end");
            }
            assert_eq!(pool.lock().lent, 0);
        });
    }
}
