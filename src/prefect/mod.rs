//! What Prefect knows: its settings and their precedence, the database URL, the call of its CLI.

pub mod database;
