//! The Kubernetes client: what runs (`audit`), and taking our container out of it (`eject`).

pub mod audit;
pub mod eject;
