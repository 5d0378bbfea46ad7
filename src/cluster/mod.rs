//! The Kubernetes client: reading what runs, taking our container out of it, keeping certificates.

pub mod audit;
pub mod certificates;
pub mod eject;
pub mod objects;
