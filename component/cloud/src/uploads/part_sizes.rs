//! How large the parts of a multipart upload are.
//!
//! Stores take at most [`MAX_PARTS`], none but the last smaller than
//! [`FIRST_SIZE`], and layers may have 100 GiB. So parts grow as an object does;
//! where all must have one size, it is chosen at the start.

const MIB: u64 = 1024 * 1024;

/// The most parts of an object (S3 and GCS; Azure takes more).
///
/// Limit: parts of an object; test: `parts_hold_the_largest_layer`.
pub(super) const MAX_PARTS: usize = 10_000;

/// The size of an object's first parts in bytes, and the smallest that S3 and GCS
/// take. An upload that is not larger is sent without parts.
pub(super) const FIRST_SIZE: u64 = 5 * MIB;

/// How many parts have which size, in order: together [`MAX_PARTS`].
const GROWTH: [(usize, u64); 3] = [(1_000, FIRST_SIZE), (3_000, 8 * MIB), (6_000, LARGEST_SIZE)];

/// The size of the last parts, which is the largest, in bytes.
///
/// Limit: bytes of the largest part, without a setting; test:
/// `parts_hold_the_largest_layer`.
const LARGEST_SIZE: u64 = 13 * MIB;

/// The size of all parts in bytes, where they must be equal and the object's
/// length is not known.
pub(super) const EQUAL_SIZE: u64 = 11 * MIB;

/// The largest blob that can be uploaded by parts that grow, in bytes: more
/// than 100 GiB. Equal parts of unknown number allow about as much.
///
/// Limit: bytes of a blob of unknown length in an object store; test:
/// `parts_hold_the_largest_layer`.
pub const MAX_BLOB_SIZE: u64 = 1_000 * FIRST_SIZE + 3_000 * 8 * MIB + 6_000 * LARGEST_SIZE;

/// The most memory that the body of one upload takes, in bytes: the part that is
/// received and the part that is sent, what was received before it was known
/// where the session ends, and a chunk of the body. Most parts are smaller; where
/// the settings ask for larger ones (`_CHUNKSIZE`), it is as much more.
///
/// Limit: bytes of memory for one upload into an object store; test:
/// `many_layers_at_once`.
pub const MEMORY_LIMIT: u64 = 2 * LARGEST_SIZE + FIRST_SIZE + MIB;

/// The size in bytes of the part after `index` others: not less than `least`,
/// unless all are equal. `None` when there are too many parts.
pub(super) fn size(index: usize, equal: Option<u64>, least: u64) -> Option<u64> {
    if index >= MAX_PARTS {
        return None;
    }
    if equal.is_some() {
        return equal;
    }
    let mut passed = 0;
    GROWTH.iter().find_map(|&(count, size)| {
        passed += count;
        (index < passed).then_some(size.max(least))
    })
}

/// The size in bytes of equal parts of an object of this length, not less than
/// `wanted`.
pub(super) fn equal_size(length: Option<u64>, wanted: u64) -> u64 {
    let Some(length) = length else { return EQUAL_SIZE.max(wanted) };
    let least = length.div_ceil(MAX_PARTS as u64).div_ceil(MIB) * MIB;
    // A larger object is refused once it has too many parts.
    least.clamp(FIRST_SIZE, LARGEST_SIZE).max(wanted)
}

#[cfg(test)]
mod tests {
    use super::{EQUAL_SIZE, FIRST_SIZE, LARGEST_SIZE, MAX_BLOB_SIZE, MAX_PARTS, MIB};
    use super::{equal_size, size};

    const GIB: u64 = 1024 * MIB;

    #[test]
    fn parts_hold_the_largest_layer() {
        let sizes: Vec<u64> = (0..).map_while(|index| size(index, None, 0)).collect();
        assert_eq!(sizes.len(), MAX_PARTS);
        assert!(sizes.is_sorted() && sizes[0] == FIRST_SIZE);
        assert_eq!(sizes.iter().sum::<u64>(), MAX_BLOB_SIZE);
        const { assert!(MAX_BLOB_SIZE > 100 * GIB) };
        const { assert!(EQUAL_SIZE * MAX_PARTS as u64 > 100 * GIB) };
    }

    #[test]
    fn equal_parts_are_as_small_as_the_length_allows() {
        for (length, expected) in [
            (None, EQUAL_SIZE),
            (Some(0), FIRST_SIZE),
            (Some(40 * GIB), FIRST_SIZE),
            (Some(60 * GIB), 7 * MIB),
            (Some(100 * GIB), 11 * MIB),
            (Some(u64::MAX), LARGEST_SIZE),
        ] {
            assert_eq!(equal_size(length, 0), expected, "{length:?}");
        }
        assert_eq!(size(7, Some(9), 0), Some(9));
        assert_eq!(size(MAX_PARTS, Some(9), 0), None);
    }

    #[test]
    fn parts_are_as_large_as_wanted() {
        let wanted = 10 * MIB;
        for (index, expected) in [(0, wanted), (3_999, wanted), (4_000, LARGEST_SIZE)] {
            assert_eq!(size(index, None, wanted), Some(expected), "{index}");
        }
        assert_eq!(size(MAX_PARTS, None, wanted), None);
        assert_eq!(equal_size(None, wanted), EQUAL_SIZE);
        assert_eq!(equal_size(Some(1), wanted), wanted);
        assert_eq!(equal_size(None, 32 * MIB), 32 * MIB);
    }
}
