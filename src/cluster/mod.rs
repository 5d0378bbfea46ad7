//! The Kubernetes client: what runs and how its migrations stand, removal, certificates, Events.

pub mod certificates;
pub mod eject;
pub mod events;
pub mod list;
pub mod objects;
pub mod status;
mod webhooks;
