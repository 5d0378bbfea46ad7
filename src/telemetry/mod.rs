//! What the server says of itself: log lines and metrics. Neither ever holds anything from a `spec`.

pub mod decision;
pub mod log;
pub mod metrics;
pub mod notices;
mod process;
mod timestamp;
