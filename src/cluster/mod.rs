//! The Kubernetes client: what runs (`audit`), taking our container out of it (`eject`), and the certificates that
//! `serve --tls-managed` keeps (`certificates`).

pub mod audit;
pub mod certificates;
pub mod eject;
pub mod objects;
