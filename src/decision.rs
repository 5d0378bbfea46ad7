//! The whole pipeline on one page.

/// Which endpoint asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// `/mutate`: applies fixes, never denies.
    Mutate,
    /// `/validate`: denies what is still wrong, never patches.
    Validate,
}
