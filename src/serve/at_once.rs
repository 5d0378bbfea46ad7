//! Answers to HTTP/2 requests, begun where they are read.
//!
//! hyper makes a task of each request. With many connections all their bodies are then read before the first is judged,
//! and none of them is in the processor's cache any more. Most bodies have arrived with the head: those are judged at
//! once, with no task and no wake-up, as under HTTP/1.1. And as there, a panic beyond the engine's, which is caught, would
//! end the connection.

use std::future::Future;
use std::task::{Context, Waker};

use hyper::rt::Executor;

/// Gives each future one try before it becomes a task of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct AtOnce;

impl<F> Executor<F> for AtOnce
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let mut future = Box::pin(future);
        // Nobody has to be woken: as a task it is tried once more, whatever happens in between.
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(future);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use hyper::rt::Executor;

    use super::AtOnce;

    #[test]
    fn what_need_not_wait_is_done_when_the_call_returns() {
        let done = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&done);
        // Without a runtime: no task is made.
        AtOnce.execute(async move { theirs.store(true, Ordering::Relaxed) });
        assert!(done.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn what_has_to_wait_goes_on_as_a_task() {
        let (tell, told) = tokio::sync::oneshot::channel();
        let (answer, answered) = tokio::sync::oneshot::channel();
        AtOnce.execute(async move {
            let number: u8 = told.await.expect("it is sent");
            tokio::time::sleep(Duration::from_millis(1)).await;
            answer.send(number + 1).expect("somebody waits");
        });
        tell.send(1).expect("the task waits");
        assert_eq!(answered.await, Ok(2));
    }
}
