//! Where lost content may be: another registry, a data directory, an OCI layout, or an
//! archive of one of these.
//!
//! A source is not trusted: no name in it becomes a path, and whatever it has under a
//! digest is compared with that digest before it counts.

mod archive;
mod directory;
mod elsewhere;
mod tar;

use crate::client::Connection;
use crate::gc::is_url;
use archive::Archive;
use bytes::Bytes;
use directory::Directory;
use elsewhere::Elsewhere;
use roadstead_oci::{Algorithm, Digest, Manifest, MediaType, RepositoryName};
use sha2::{Digest as _, Sha256, Sha512};
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A place where lost content may be.
pub(super) struct Source {
    /// As it was given.
    name: String,
    place: Place,
}

enum Place {
    Elsewhere(Box<Elsewhere>),
    Directory(Directory),
    Archive(Archive),
}

/// A blob of a source.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    /// The size in bytes.
    pub(super) size: u64,
    at: At,
}

#[derive(Clone, Debug)]
enum At {
    /// In a file, from an offset on.
    File(Arc<File>, u64),
    /// At a registry, by the path of its URL.
    Path(String),
}

/// The bytes of a manifest, which have the digest that was asked for.
pub(super) struct Found {
    pub(super) bytes: Bytes,
    /// The media type that the source says it has.
    pub(super) media_type: Option<MediaType>,
}

impl Source {
    /// Opens a source: a URL, a directory or a file.
    ///
    /// # Errors
    /// When it is none of these, or cannot be read.
    pub(super) fn open(
        text: &str,
        connection: &Connection,
        limit: Duration,
    ) -> Result<Self, String> {
        let failed = |problem: String| format!("{text}: {problem}");
        let path = Path::new(text);
        let place = if is_url(text) {
            Elsewhere::new(text, connection, limit).map(|it| Place::Elsewhere(Box::new(it)))
        } else if path.is_dir() {
            Directory::open(path).map(Place::Directory)
        } else if path.is_file() {
            Archive::open(path).map(Place::Archive)
        } else {
            Err("neither a registry's URL, as in https://registry.example:5000, nor a directory \
                 or an archive"
                .to_owned())
        };
        Ok(Self { name: text.to_owned(), place: place.map_err(failed)? })
    }

    /// The data directory that is being rescued: of what distribution's collector no longer
    /// links, the bytes may still be there.
    pub(super) fn itself(root: &Path) -> Option<Self> {
        let place = Place::Directory(Directory::open(root).ok()?);
        Some(Self { name: "the bytes that are still there".to_owned(), place })
    }

    /// As it was given.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What the operator should know of it.
    pub(super) fn note(&self) -> Option<&str> {
        match &self.place {
            Place::Archive(archive) => archive.note.as_deref(),
            _ => None,
        }
    }

    /// Looks for a blob.
    ///
    /// # Errors
    /// When the source does not say whether it has it.
    pub(super) async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Blob>, String> {
        match &self.place {
            Place::Elsewhere(registry) => registry.blob(repository, digest).await,
            Place::Directory(directory) => directory.blob(digest).map_err(|e| e.to_string()),
            Place::Archive(archive) => Ok(archive.blob(digest)),
        }
    }

    /// Reads a part of a blob: exactly as many bytes.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) async fn read(
        &self,
        blob: &Blob,
        offset: u64,
        length: usize,
    ) -> Result<Bytes, String> {
        match (&blob.at, &self.place) {
            (At::File(file, start), _) => part(file, start.saturating_add(offset), length)
                .map_err(|error| format!("{}: {error}", self.name)),
            (At::Path(path), Place::Elsewhere(registry)) => {
                registry.read(path, offset, length).await
            }
            (At::Path(_), _) => Err("this source has no paths".to_owned()),
        }
    }

    /// Looks for a manifest, whose bytes have this digest.
    ///
    /// # Errors
    /// When the source does not say whether it has it, or has other bytes under its digest.
    pub(super) async fn manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Found>, String> {
        let found = match &self.place {
            Place::Elsewhere(registry) => registry.manifest(repository, digest).await?,
            Place::Directory(directory) => {
                let blob = directory.blob(digest).map_err(|error| error.to_string())?;
                let media_type = directory.media_type(repository, digest);
                self.whole(blob).await?.map(|bytes| Found { bytes, media_type })
            }
            Place::Archive(archive) => {
                let bytes = self.whole(archive.blob(digest)).await?;
                bytes.map(|bytes| Found { bytes, media_type: None })
            }
        };
        match found {
            Some(found) if !is_of(digest, &found.bytes) => {
                Err("its bytes do not have this digest".to_owned())
            }
            found => Ok(found),
        }
    }

    async fn whole(&self, blob: Option<Blob>) -> Result<Option<Bytes>, String> {
        let Some(blob) = blob else { return Ok(None) };
        match usize::try_from(blob.size) {
            Ok(size) if size <= Manifest::MAX_SIZE => self.read(&blob, 0, size).await.map(Some),
            _ => Err(format!("it has {} bytes, which is too large for a manifest", blob.size)),
        }
    }
}

/// Whether bytes have a digest.
pub(super) fn is_of(digest: &Digest, bytes: &[u8]) -> bool {
    match digest.algorithm() {
        Algorithm::Sha256 => digest.to_bytes() == Sha256::digest(bytes)[..],
        Algorithm::Sha512 => digest.to_bytes() == Sha512::digest(bytes)[..],
    }
}

/// Opens a file, if it is there and no link, device or pipe.
fn regular(path: &Path) -> io::Result<Option<(File, u64)>> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(of(path, &error)),
    };
    if !kind.is_file() {
        return Err(io::Error::other(format!("{} is not a regular file", path.display())));
    }
    let file = File::open(path).map_err(|error| of(path, &error))?;
    let size = file.metadata().map_err(|error| of(path, &error))?.len();
    Ok(Some((file, size)))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn of(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Fills a buffer from an offset on. Nothing else uses the file's position.
fn read_at(mut file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    file.seek(io::SeekFrom::Start(offset))?;
    file.read_exact(buffer)
}

fn part(file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; length];
    read_at(file, &mut bytes, offset)?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests;
