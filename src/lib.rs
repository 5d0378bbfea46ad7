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
// Output goes through the writers that commands are given; tests and benches may print.
#![warn(unreachable_pub, clippy::print_stdout, clippy::print_stderr)]

// The pure part: what `clippy.toml` disallows (files, network, clock, environment, unordered maps) is an error.
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod admission;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod decision;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod finding;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod json;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod patch;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod policy;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod prefect;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod rules;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod secret;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod workload;

// The shell around it.
pub mod cli;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod manifest;
pub mod server;
pub mod telemetry;
pub mod tls;
