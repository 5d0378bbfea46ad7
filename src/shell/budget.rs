//! What reading one command line may cost, so that no text of a few bytes asks for much.
//!
//! Reading is generous in proportion to what was written; thirty variables that each name the one before twice, or
//! functions that call each other twice, are not. What the budget does not pay for counts as not readable.

use std::cell::Cell;

/// The longest word or value that is put together. Linux refuses an argument over 128 KiB.
pub(crate) const LONGEST: usize = 128 * 1024;

/// What is left to spend. Shared by all that read one command line.
#[derive(Debug)]
pub(crate) struct Budget {
    steps: Cell<usize>,
    bytes: Cell<usize>,
    overdrawn: Cell<bool>,
}

impl Budget {
    /// For a command line of so many bytes, its variables included.
    pub(crate) fn of(written: usize) -> Self {
        let steps = 8_192 + 8 * written;
        let bytes = (16 * 1024 + 8 * written).min(8 * LONGEST);
        Budget { steps: Cell::new(steps), bytes: Cell::new(bytes), overdrawn: Cell::new(false) }
    }

    /// Takes so many steps (a word looked at, a variable passed by); `false` when there are not so many left.
    pub(crate) fn step(&self, count: usize) -> bool {
        self.take(&self.steps, count)
    }

    /// Takes so many bytes of text put in for a reference.
    pub(crate) fn text(&self, bytes: usize) -> bool {
        self.take(&self.bytes, if bytes <= LONGEST { bytes } else { usize::MAX })
    }

    /// Whether something was asked for that was not there: what came after is not known.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.overdrawn.get()
    }

    /// Once it is spent it stays spent: what comes later is not read at random.
    fn take(&self, left: &Cell<usize>, count: usize) -> bool {
        let rest = left.get().checked_sub(count);
        left.set(rest.unwrap_or(0));
        self.overdrawn.set(self.overdrawn.get() || rest.is_none());
        rest.is_some()
    }
}
