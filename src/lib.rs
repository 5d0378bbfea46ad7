//! prefect-guard: a Kubernetes admission webhook that puts the database migration before every Prefect server.
//!
//! One engine, reached in five ways (`serve`, `check`, `inject`, `audit`, `demo`):
//!
//! ```text
//! bytes → review → subject → rules → decision → answer → bytes
//! ```
//!
//! Modules are layers: a file imports from its own or from lower ones, and no circle of files exists
//! (`docs/architecture.md` has the order, `tests/it/layers.rs` holds it). The pure part is the package of `src/core.rs`;
//! the rest of the program is here, around it.
#![forbid(unsafe_code)]
// Output goes through the writers that commands are given; tests and benches may print.
#![warn(unreachable_pub, clippy::print_stdout, clippy::print_stderr)]

pub use prefect_guard_core::{
    answer, decision, environment, json, kubernetes, migration, policy, prefect, review, rule, rules, server,
    shell, subject, surroundings, text,
};

pub mod cli;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod manifest;
pub mod serve;
pub mod telemetry;
pub mod tls;
