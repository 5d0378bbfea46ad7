//! JSON text as it lies in a review: stepped over, checked and read without being copied.
//!
//! * [`check`] steps through compact JSON and checks it against the grammar.
//! * [`cursor`] finds its way in text that is known to be well-formed.
//! * [`reader`] reads such text into types that implement [`serde::Deserialize`].
//!
//! All three step over strings by [`marks`]. Why they are ours: `docs/decisions.md`.

pub(crate) mod check;
pub(crate) mod cursor;
mod kept;
mod marks;
mod reader;
mod unparsed;

pub use kept::{Kept, List};
pub(crate) use reader::read;
pub use unparsed::Unparsed;
