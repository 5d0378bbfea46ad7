//! JSON text as it lies in a review: stepped over, checked and read without being copied.
//!
//! * [`check`] steps through compact JSON and checks it against the grammar.
//! * [`cursor`] finds its way in text that is known to be well-formed.
//! * [`reader`] reads views, which are types that are [`Readable`], by way of either.
//!
//! Both step over strings by [`marks`]. Why they are ours: `docs/decisions.md`.

pub(crate) mod check;
pub(crate) mod cursor;
mod kept;
mod marks;
mod reader;
mod unparsed;
pub(crate) mod unreadable;

pub(crate) use cursor::read;
pub use kept::{Kept, List};
#[cfg(test)]
pub(crate) use reader::members_for_serde;
pub(crate) use reader::{Readable, Source, read_unless_null, readable};
pub use unparsed::Unparsed;
pub use unreadable::{Unreadable, parse};
