//! prefect-guard: a Kubernetes admission webhook that puts the database migration before every Prefect server.
//!
//! One engine, reached in five ways (`serve`, `check`, `inject`, `audit`, `demo`):
//!
//! ```text
//! bytes → review → subject → rules → decision → answer → bytes
//! ```
//!
//! Modules are layers: a file imports from its own or from lower ones, and no circle of files exists
//! (`docs/architecture.md` has the order, `tests/it/layers.rs` holds it). The pure part knows no HTTP, TLS, async, clock,
//! files or environment; `tests/it/structure.rs` reads the sources to keep it so.
#![forbid(unsafe_code)]
// Output goes through the writers that commands are given; tests and benches may print.
#![warn(unreachable_pub, clippy::print_stdout, clippy::print_stderr)]

// The pure part: what `clippy.toml` disallows (files, network, clock, environment, unordered maps) is an error.
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod answer;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod decision;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod environment;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod json;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod kubernetes;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod migration;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod policy;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod prefect;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod review;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod rule;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod rules;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod server;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod shell;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod subject;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod surroundings;
#[cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
pub mod text;

// The shell around it.
pub mod cli;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod manifest;
pub mod serve;
pub mod telemetry;
pub mod tls;
