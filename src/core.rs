//! The pure part of prefect-guard: from the bytes of a review to the bytes of its answer.
//!
//! ```text
//! bytes → review → subject → rules → decision → answer → bytes
//! ```
//!
//! It knows no HTTP, TLS, async, clock, files or environment.
#![forbid(unsafe_code)]
#![warn(unreachable_pub, clippy::print_stdout, clippy::print_stderr)]
// What `clippy.toml` disallows: files, network, clock, environment, unordered maps.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod answer;
pub mod decision;
pub mod environment;
pub mod json;
pub mod kubernetes;
pub mod migration;
pub mod policy;
pub mod prefect;
pub mod review;
pub mod rule;
pub mod rules;
pub mod server;
pub mod shell;
pub mod subject;
pub mod surroundings;
pub mod text;
