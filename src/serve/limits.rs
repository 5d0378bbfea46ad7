//! Every wait and every amount of the server has an owner, and its limit is here with the reason for it.

use std::time::Duration;

/// The limits of one server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at once. An API server keeps a handful; a thousand idle ones cost about 30 MB.
    pub connections: usize,
    /// Requests between head and answer at once. More than that is a flood: 503 lets the API server's failure policy
    /// speak while there is still time.
    pub requests: usize,
    /// TLS handshake. A handshake takes two round trips; whoever needs five seconds is not on this network.
    pub handshake: Duration,
    /// From the first byte of a request (or from the end of the handshake) to the end of its head.
    pub head: Duration,
    /// From the end of the head to the end of the body.
    pub body: Duration,
    /// From the end of the head to the answer, whatever `?timeout=` asks for. The API server waits ten seconds unless
    /// configured otherwise, thirty at most.
    pub handler: Duration,
    /// A connection without a request. Longer than the 90 s after which Go's client (and so the API server) closes an
    /// idle one itself: it must never send a request into a connection that we are closing.
    pub idle: Duration,
    /// How long the client may leave an answer unread.
    pub write: Duration,
    /// The largest body. Two objects of 3 MiB, the most the API server takes, and its envelope.
    pub body_size: usize,
    /// All bodies held at once; a third is kept for bodies of at most 64 KiB, so that a few huge ones never hold up
    /// the ordinary. At least four thirds of `body_size`.
    pub memory: usize,
    /// Between the first signal and the end of serving, while Endpoints and load balancers learn of it.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 1_000,
            requests: 512,
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(5),
            body: Duration::from_secs(5),
            handler: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            write: Duration::from_secs(10),
            body_size: 7 << 20,
            memory: 24 << 20,
            drain: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// How often a connection is looked at: the shortest of the waits that a look may end.
    pub(super) fn look(&self) -> Duration {
        self.head.min(self.write).min(self.idle)
    }

    /// Checks limits that cannot work together.
    pub fn check(&self) -> Result<(), String> {
        let large = super::body::Memory::large_share(self.memory);
        if self.memory - large < super::body::SMALL {
            return Err(format!(
                "`--body-memory` of {} has no room for ordinary bodies; give it `192KiB`",
                self.memory
            ));
        }
        if self.body_size > large {
            return Err(format!(
                "`--body-memory` of {} leaves {large} bytes for large bodies, but `--max-body` is {}; \
                 raise `--body-memory` to at least {}",
                self.memory,
                self.body_size,
                self.body_size.saturating_mul(3).div_ceil(2)
            ));
        }
        if self.body_size == 0 {
            return Err("`--max-body` of 0 would refuse every review; give it `7MiB`".to_owned());
        }
        if self.connections == 0 || self.requests == 0 {
            return Err("`--max-connections` and `--max-requests` must be at least 1".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Limits;

    #[test]
    fn refuses_limits_under_which_nothing_is_answered() {
        assert_eq!(Limits::default().check(), Ok(()));
        let refused = |limits: Limits| limits.check().unwrap_err();
        assert!(refused(Limits { body_size: 0, ..Limits::default() }).contains("--max-body"));
        assert!(refused(Limits { requests: 0, ..Limits::default() }).contains("--max-requests"));
    }
}
