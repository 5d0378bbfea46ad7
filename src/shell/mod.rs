//! Reading the commands of containers: the lexer of shell text, the programs that run others, and which calls of
//! Prefect come out of it.

pub(crate) mod budget;
mod builtins;
mod calls;
pub(crate) mod changes;
pub mod command;
mod conditions;
mod env_command;
mod interpreter;
mod lexer;
mod options;
pub(crate) mod programs;
pub mod reading;
mod references;
mod script;
mod syntax;
mod variables;
pub mod word;
