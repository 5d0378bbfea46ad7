//! What Prefect knows: its settings and their precedence, the database URL, the call of its CLI.

pub mod asyncpg;
mod components;
mod conflicts;
mod connect;
pub mod database;
mod elsewhere;
pub mod endpoint;
pub mod field;
mod given;
pub mod judge;
mod misleading;
pub mod near;
pub mod placeholder;
pub mod problem;
pub mod profile;
mod reader;
mod resolve;
pub mod settings;
pub mod sqlite;
mod template;
pub mod url;
mod validity;
pub mod values;
pub mod version;
