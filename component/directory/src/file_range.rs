//! Content as a part of a file.

use crate::memory;
use roadstead_bridge::storage::{INLINE_LIMIT, Reply};
use roadstead_storage::StorageError;
use std::fs::File;
use std::ops::Range;

/// A reply, and the bytes that belong to it unless they travel within it.
pub(crate) type WithContent = Result<(Reply, Option<FileRange>), StorageError>;

/// A part of a file.
#[derive(Debug)]
pub struct FileRange {
    /// The file.
    pub file: File,
    /// The bytes of it.
    pub range: Range<u64>,
}

impl FileRange {
    pub(crate) fn new(file: File, range: Range<u64>) -> Self {
        Self { file, range }
    }

    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// The bytes, in memory.
    ///
    /// # Errors
    /// When they cannot be read, or the file has become shorter.
    pub(crate) fn read(&self) -> Result<Vec<u8>, StorageError> {
        let length = usize::try_from(self.length())
            .map_err(|_| StorageError::Failed("a file that is too long for memory".to_owned()))?;
        let bytes = memory::read_at(&self.file, self.range.start, length)?;
        if bytes.len() == length {
            Ok(bytes)
        } else {
            Err(StorageError::Failed("a file has become shorter".to_owned()))
        }
    }

    /// Its text, if that is short enough to travel within a reply; else itself.
    pub(crate) fn inlined(self) -> Result<(Option<String>, Option<Self>), StorageError> {
        if self.length() > INLINE_LIMIT {
            return Ok((None, Some(self)));
        }
        match String::from_utf8(self.read()?) {
            Ok(text) => Ok((Some(text), None)),
            Err(_) => Ok((None, Some(self))),
        }
    }
}
