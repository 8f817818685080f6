//! Where a run of a command waits for others that may use the storage.

/// Where a run waits. Nothing is waited for where nobody else uses the storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waits {
    /// In a bucket. The lock of a directory tells that nobody serves it.
    InBuckets,
    /// Everywhere, by `--keep`.
    Everywhere,
    /// Nowhere: by `--alone`, the operator says that nobody else uses the storage.
    Nowhere,
}

impl Waits {
    pub(super) fn of(alone: bool, keep: bool) -> Self {
        match (alone, keep) {
            (true, _) => Self::Nowhere,
            (false, true) => Self::Everywhere,
            (false, false) => Self::InBuckets,
        }
    }

    /// Whether a run has a storage for itself: a directory that nobody serves, or else a
    /// bucket.
    pub fn exclusive(self, directory: bool) -> bool {
        match self {
            Self::InBuckets => directory,
            Self::Everywhere => false,
            Self::Nowhere => true,
        }
    }

    /// The flag that says so.
    pub(super) fn flag(self) -> Option<&'static str> {
        match self {
            Self::InBuckets => None,
            Self::Everywhere => Some("--keep"),
            Self::Nowhere => Some("--alone"),
        }
    }
}
