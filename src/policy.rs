//! The operator's settings as the core needs them.

/// What the policy says for one namespace.
#[derive(Debug, Clone, Default)]
pub struct Settings {}

/// The whole policy.
#[derive(Debug, Clone, Default)]
pub struct Policy {}
