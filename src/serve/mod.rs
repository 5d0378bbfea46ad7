//! The HTTPS server around the engine.
//!
//! ```text
//! accept (cap on connections, TLS, deadlines of a connection) → router (layers, /mutate, /validate) → answer
//! admin: /livez /readyz /metrics      reload: certificate, policy and client CA by content
//! ```
//!
//! [`Server`] loads nothing itself: whoever calls has keys and policy in hand, so that a port is taken only by a
//! server that can serve. Admissions run on the calling thread's runtime; the admin port and everything slow has a
//! thread of its own, so that a flood of reviews never makes a probe wait.

mod accept;
pub mod admin;
pub mod admission;
pub mod body;
mod deadlines;
mod engine;
pub mod flags;
pub mod limits;
mod listen;
pub mod phase;
mod refusal;
pub mod reload;
pub mod run;
mod server;

pub use admission::Admission;
pub use engine::Engine;
pub use limits::Limits;
pub use listen::{BindError, listen};
pub use phase::{Phase, Stage};
pub use server::Server;
