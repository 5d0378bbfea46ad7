//! The Kubernetes client: reading what runs, taking our container out of it, keeping certificates.

pub mod certificates;
pub mod eject;
pub mod list;
pub mod objects;
mod webhooks;
