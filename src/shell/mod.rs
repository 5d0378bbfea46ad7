//! Reading the commands of containers: the lexer of shell text, the programs that run others, and which calls of
//! Prefect come out of it.

pub(crate) mod budget;
mod calls;
pub(crate) mod changes;
pub mod command;
pub(crate) mod lexer;
pub(crate) mod reader;
mod script;
pub(crate) mod words;
pub(crate) mod wrappers;
