//! What Prefect knows: its settings and their precedence, the database URL, the call of its CLI.

pub mod asyncpg;
mod conflicts;
pub mod database;
mod elsewhere;
pub mod judge;
pub mod near;
pub mod placeholder;
pub mod profile;
mod reader;
pub mod settings;
pub mod sqlite;
mod template;
pub mod url;
pub mod values;
pub mod version;
