//! What answers a review and reads a policy, as functions that tests can replace.

use crate::answer::Answer;
use crate::decision::Endpoint;
use crate::policy::Policy;

/// What the server calls for each review. A pair of functions, so that tests can put others in their place.
#[derive(Debug, Clone, Copy)]
pub struct Engine {
    /// Answers a body.
    pub answer: fn(Endpoint, &[u8], &Policy) -> Answer,
    /// Reads a policy file; the error is for its author.
    pub policy: fn(&str) -> Result<Policy, String>,
}

impl Engine {
    /// The real one.
    pub fn real() -> Engine {
        Engine { answer: crate::answer::answer, policy: read_policy }
    }
}

fn read_policy(text: &str) -> Result<Policy, String> {
    Policy::from_yaml(text, crate::rules::CATALOGUE).map_err(|error| error.to_string())
}
