//! The Kubernetes client: reading what runs and how its migrations stand, taking our container out of it, keeping certificates.

pub mod certificates;
pub mod eject;
pub mod list;
pub mod objects;
pub mod status;
mod webhooks;
