//! Reading the commands of containers: from an argv, through wrappers and shell scripts, to the calls of Prefect.

pub(crate) mod budget;
mod builtins;
mod calls;
pub(crate) mod changes;
pub mod command;
pub mod command_names;
mod conditions;
mod env_command;
mod interpreter;
mod lexer;
mod options;
mod preparation;
pub(crate) mod programs;
pub mod reading;
mod references;
mod script;
mod syntax;
mod upgrade;
mod variables;
pub mod word;
