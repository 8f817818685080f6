//! How large a manifest may be.

/// See [`crate::Manifest::MAX_SIZE`].
///
/// Limit: bytes of a manifest; test: `limits_hold_at_the_boundary`,
/// `the_largest_manifest`.
pub(super) const MAX_SIZE: usize = 4 * 1024 * 1024;

/// See [`crate::Manifest::MAX_DESCRIPTORS`].
///
/// Limit: descriptors in a manifest; test: `limits_hold_at_the_boundary`.
pub(super) const MAX_DESCRIPTORS: usize = 10_000;

/// See [`crate::Manifest::MAX_ANNOTATIONS`].
///
/// Limit: annotations in a manifest; test: `limits_hold_at_the_boundary`.
pub(super) const MAX_ANNOTATIONS: usize = 4096;
