//! Files that contents are in, and how they are read.

use roadstead_oci::{Algorithm, Digest};
use roadstead_storage::BlobHash;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The bytes that are hashed or copied at a time.
///
/// Limit: bytes of an archive in memory while it is hashed or unpacked; test: none, it is
/// the size of a buffer.
pub(super) const BUFFER: usize = 1024 * 1024;

/// A file or a directory with contents.
#[derive(Debug)]
pub(super) struct Archive {
    /// What messages call it.
    pub(super) label: String,
    pub(super) place: Place,
}

#[derive(Debug)]
pub(super) enum Place {
    /// A tar file, unpacked if it was compressed.
    File(Arc<File>),
    /// The directory of an OCI layout, whose blobs are opened when they are needed.
    Layout(PathBuf),
}

impl Archive {
    /// The file that a content is in.
    pub(super) fn file(&self, digest: &Digest, span: Span) -> io::Result<Arc<File>> {
        match &self.place {
            Place::File(file) => Ok(Arc::clone(file)),
            Place::Layout(root) => {
                let path = root.join("blobs").join(digest.algorithm().as_str());
                let file = open_regular(&path.join(digest.encoded()))?;
                if file.metadata()?.len() != span.size {
                    return Err(io::Error::other("its size has changed"));
                }
                Ok(Arc::new(file))
            }
        }
    }
}

/// Bytes of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// Bytes in an archive of a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct At {
    /// Which archive.
    pub(super) archive: usize,
    pub(super) span: Span,
}

impl Span {
    /// All of its bytes; `None` if there are more than `limit`.
    pub(super) fn read(self, file: &File, limit: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(size) = usize::try_from(self.size).ok().filter(|size| *size <= limit) else {
            return Ok(None);
        };
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, self.offset)?;
        Ok(Some(bytes))
    }

    /// The digest of its bytes.
    pub(super) fn digest(self, file: &File, algorithm: Algorithm) -> io::Result<Digest> {
        let mut hash = BlobHash::new(algorithm);
        let (mut buffer, mut done) = (vec![0; BUFFER], 0);
        while done < self.size {
            let length = usize::try_from(self.size - done).unwrap_or(BUFFER).min(BUFFER);
            let piece = buffer.get_mut(..length).unwrap_or_default();
            file.read_exact_at(piece, self.offset + done)?;
            hash.update(piece);
            done += length as u64;
        }
        hash.finish().map_err(|error| io::Error::other(error.to_string()))
    }
}

/// The digest of bytes.
pub(super) fn digest_of(bytes: &[u8], algorithm: Algorithm) -> Option<Digest> {
    let mut hash = BlobHash::new(algorithm);
    hash.update(bytes);
    hash.finish().ok()
}

/// Opens a regular file, and not one that a symbolic link leads to.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let named = fs::symlink_metadata(path)?;
    if named.is_symlink() {
        return Err(io::Error::other("it is a symbolic link"));
    }
    if !named.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let file = File::open(path)?;
    let opened = file.metadata()?;
    if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
        return Err(io::Error::other("it was replaced while it was opened"));
    }
    Ok(file)
}
