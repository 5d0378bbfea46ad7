//! From fixes to a JSON Patch (RFC 6902) that touches only what is ours.

/// What `/mutate` does about a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fix {
    /// Put `container` (JSON text) into the initContainers before index `at`, taking ours away at `remove` first.
    Place {
        /// Index of our own, stale container, if there is one.
        remove: Option<usize>,
        /// Where the new one goes, counted after the removal.
        at: usize,
        /// The container as JSON text.
        container: String,
    },
    /// Take our own container away.
    Remove {
        /// Its index in the initContainers.
        index: usize,
    },
    /// Set the image of an initContainer.
    Pin {
        /// Its index in the initContainers.
        index: usize,
        /// The server's image, byte for byte.
        image: String,
    },
}
