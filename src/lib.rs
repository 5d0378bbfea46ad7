//! prefect-guard: a Kubernetes admission webhook that keeps Prefect servers from ever coming up against a
//! database that was never migrated.
//!
//! One engine, five doors (`serve`, `check`, `inject`, `audit`, `demo`):
//!
//! ```text
//! bytes → admission::decode → workload::discover → rules → patch → decision → admission::respond → bytes
//! ```
//!
//! Arrows between modules point one way:
//! `cli, server, cluster → admission → decision → rules, patch → workload, prefect → finding`.
//! Nothing below `server` knows HTTP, TLS, async, the clock, files or the process environment;
//! `tests/structure.rs` reads the sources to keep it so.
#![forbid(unsafe_code)]

pub mod admission;
pub mod decision;
pub mod finding;
pub mod manifest;
pub mod patch;
pub mod policy;
pub mod prefect;
pub mod rules;
pub mod workload;
