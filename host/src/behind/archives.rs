//! Archives as a storage that is only read: answers the component's storage operations from
//! an index in memory, and with parts of the archives' files.
//!
//! Nothing is unpacked or copied. Tar files stay open, all bodies share them, and each read
//! says where: there is no lock, and no descriptor for each request.

mod index;
mod lists;
mod names;
mod opened;
mod page;

use crate::behind::deadline::{Deadlines, within};
use crate::behind::store::{Outcome, answer, blocking, parse};
use crate::blocking;
use crate::body::{file_body, full};
use bytes::Bytes;
use http::{Request, Response};
use index::{Index, Repository};
use roadstead_archive::{Part, Set};
use roadstead_bridge::storage::{DIGESTS_LIMIT, INLINE_LIMIT, OPERATION};
use roadstead_bridge::storage::{Operation, Reply};
use roadstead_directory::read_at;
use roadstead_oci::{ByteRange, Descriptor, Digest, Manifest, MediaType};
use roadstead_oci::{Reference, RepositoryName};
use roadstead_storage::{BlobHash, HASH_LIMIT, Hashed, Key, Partial, StorageError};
use std::ops::Range;
use std::sync::Arc;
use tokio::task::JoinError;
use wasmtime_wasi_http::WasiBody;

pub(crate) use opened::{location, open};

/// Bytes of a blob that are read at once to be hashed.
///
/// Limit: bytes of a blob in an archive that are hashed at once; test: none, more are hashed in
/// steps.
const HASH_BUFFER: u64 = 256 * 1024;

/// The bytes of archives, by their digests: a [`Set`], or what stands for it in tests.
pub(crate) trait Contents: Send + Sync + 'static {
    /// How many bytes a content has, if all of it is here.
    fn size(&self, digest: &Digest) -> Option<u64>;

    /// Where bytes of it are, if all of it is here.
    fn parts(&self, digest: &Digest, range: Range<u64>) -> Option<Vec<Part>>;

    /// The bytes of a manifest, which have its digest.
    fn manifest(&self, digest: &Digest) -> Result<Option<Bytes>, StorageError>;
}

impl Contents for Set {
    fn size(&self, digest: &Digest) -> Option<u64> {
        Self::size(self, digest)
    }

    fn parts(&self, digest: &Digest, range: Range<u64>) -> Option<Vec<Part>> {
        Self::parts(self, digest, range)
    }

    fn manifest(&self, digest: &Digest) -> Result<Option<Bytes>, StorageError> {
        Self::manifest(self, digest).map_err(|error| StorageError::Failed(error.to_string()))
    }
}

/// Carries out storage operations on archives.
#[derive(Debug)]
pub(crate) struct ArchiveStore<C = Set> {
    contents: C,
    index: Index,
    deadlines: Deadlines,
}

impl<C: Contents> ArchiveStore<C> {
    /// Serves what an index says, from these contents.
    fn new(contents: C, index: Index) -> Self {
        Self { contents, index, deadlines: Deadlines::default() }
    }

    /// Carries out the operation in a request: on a thread that may wait if it reads files,
    /// and otherwise at once.
    ///
    /// # Errors
    /// When the task for it panics.
    pub(crate) async fn respond(
        self: Arc<Self>,
        request: Request<WasiBody>,
    ) -> Result<Response<WasiBody>, JoinError> {
        let operation = match request.headers().get(OPERATION).map(parse).transpose() {
            Ok(Some(operation)) => operation,
            // A write or a transfer.
            Ok(None) => return Ok(answer(Err(read_only()))),
            Err(error) => return Ok(answer(Err(error))),
        };
        if !reads_files(&operation) {
            return Ok(answer(self.execute(&operation)));
        }
        tokio::spawn(async move {
            let (limit, operation) = (self.deadlines.of(&operation), Arc::new(operation));
            let carried_out = Arc::clone(&operation);
            let work = blocking(blocking::reads(), move || self.execute(&carried_out));
            answer(within(limit, operation, work).await)
        })
        .await
    }

    /// Carries out an operation.
    fn execute(&self, operation: &Operation) -> Outcome {
        match operation {
            Operation::Manifest { repository, reference, content } => {
                self.manifest(repository, reference, *content)
            }
            Operation::Blob { repository, digest, range, content } => {
                self.blob(repository, digest, *range, *content)
            }
            Operation::MissingBlobs { repository, digests } => {
                Ok((self.missing(repository, digests, Repository::has_blob), None))
            }
            Operation::MissingManifests { repository, digests } => {
                let holds = |held: &Repository, digest: &Digest| held.manifest(digest).is_some();
                Ok((self.missing(repository, digests, holds), None))
            }
            // Only a push asks, and there is none.
            Operation::PushState { .. } => Ok((Reply::PushState(None), None)),
            Operation::Hints { .. } => Ok((Reply::Repositories(Vec::new()), None)),
            Operation::Read(key) => self.read(key),
            Operation::Exists(key) => Ok((Reply::Exists(self.holds(key)), None)),
            Operation::Hash { digest, from, limit } => {
                Ok((Reply::Hashed(self.hash(digest, from.as_ref(), *limit)?), None))
            }
            Operation::Names(query) => Ok((Reply::Names(self.names(query)), None)),
            Operation::Enumerate { collection, after, limit } => {
                Ok((Reply::Listing(self.enumerate(collection, after.as_ref(), *limit)), None))
            }
            Operation::Status(_) => Err(StorageError::NotFound),
            Operation::Link { .. }
            | Operation::LinkTag { .. }
            | Operation::CreateTag { .. }
            | Operation::Remove(_)
            | Operation::Unlink { .. }
            | Operation::Quarantine(_)
            | Operation::Tidy(_)
            | Operation::Begin(_)
            | Operation::Commit(_)
            | Operation::Discard(_) => Err(read_only()),
        }
    }

    fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        content: bool,
    ) -> Outcome {
        let held = self.repository(repository)?;
        let digest = match reference {
            Reference::Digest(digest) => digest,
            Reference::Tag(tag) => held.tag(tag).ok_or(StorageError::NotFound)?,
        };
        let media_type = held.manifest(digest).ok_or(StorageError::NotFound)?;
        let size = self.size(digest)?;
        let (text, body) = if content { self.open(digest, 0..size)? } else { (None, None) };
        let (digest, media_type) = (digest.clone(), Some(media_type.clone()));
        Ok((Reply::Manifest { digest, media_type, size, text }, body))
    }

    fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
        content: bool,
    ) -> Outcome {
        if !self.repository(repository)?.has_blob(digest) {
            return Err(StorageError::NotFound);
        }
        let size = self.size(digest)?;
        if !content {
            return Ok((Reply::Blob { size, range: 0..size, text: None }, None));
        }
        let range = match range {
            // An empty blob has no ranges, and all of it is empty.
            Some(range) if size > 0 => range.resolve(size).ok_or(StorageError::Range(size))?,
            _ => 0..size,
        };
        let (text, body) = self.open(digest, range.clone())?;
        Ok((Reply::Blob { size, range, text }, body))
    }

    /// Which of some contents a repository does not hold, or the archives do not have.
    fn missing(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
        holds: impl Fn(&Repository, &Digest) -> bool,
    ) -> Reply {
        let held = self.index.repository(repository);
        let is_there = |digest: &Digest| {
            held.is_some_and(|held| holds(held, digest)) && self.contents.size(digest).is_some()
        };
        let asked = digests.iter().take(DIGESTS_LIMIT);
        Reply::Missing(asked.filter(|digest| !is_there(digest)).cloned().collect())
    }

    fn repository(&self, name: &RepositoryName) -> Result<&Repository, StorageError> {
        self.index.repository(name).ok_or(StorageError::NotFound)
    }

    fn size(&self, digest: &Digest) -> Result<u64, StorageError> {
        self.contents.size(digest).ok_or(StorageError::NotFound)
    }

    /// Bytes of a content: as text if they are short, or else as a body.
    fn open(
        &self,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<(Option<String>, Option<WasiBody>), StorageError> {
        let is_short = range.end - range.start <= INLINE_LIMIT;
        let parts = self.contents.parts(digest, range).ok_or(StorageError::NotFound)?;
        if is_short {
            return Ok(inlined(read_all(&parts)?.into()));
        }
        let parts = parts.into_iter().map(|part| (part.file, part.range)).collect();
        Ok((None, Some(file_body::open_all(parts)?)))
    }

    /// The value of an object, as a registry's directory would have it.
    fn read(&self, key: &Key) -> Outcome {
        let value = match key {
            Key::Blob(digest) => {
                let size = self.size(digest)?;
                if size > key.value_limit() as u64 {
                    return Err(StorageError::Failed(format!("{key} has {size} bytes")));
                }
                let (text, body) = self.open(digest, 0..size)?;
                return Ok((Reply::Value { size, text }, body));
            }
            Key::Referrer { repository, digest, .. } if self.holds(key) => {
                self.descriptor(self.repository(repository)?, digest)?
            }
            Key::Tag(name, tag) => self.repository(name)?.tag(tag).map(Digest::to_string),
            Key::MediaType(name, digest) => {
                self.repository(name)?.manifest(digest).map(MediaType::to_string)
            }
            Key::Layer(_, digest) | Key::Revision(_, digest) if self.holds(key) => {
                Some(digest.to_string())
            }
            Key::ReferrersComplete(_) if self.holds(key) => Some(String::new()),
            _ => None,
        };
        let value = value.ok_or(StorageError::NotFound)?;
        let size = value.len() as u64;
        let (text, body) = inlined(value.into());
        Ok((Reply::Value { size, text }, body))
    }

    /// Whether an object is there, of those that a registry's directory would have.
    fn holds(&self, key: &Key) -> bool {
        let repository = |name| self.index.repository(name);
        match key {
            Key::Blob(digest) => self.contents.size(digest).is_some(),
            Key::Layer(name, digest) => repository(name).is_some_and(|held| held.has_blob(digest)),
            Key::Revision(name, digest) | Key::MediaType(name, digest) => {
                repository(name).is_some_and(|held| held.manifest(digest).is_some())
            }
            Key::Tag(name, tag) => repository(name).is_some_and(|held| held.tag(tag).is_some()),
            Key::Referrer { repository: name, subject, digest } => {
                repository(name).is_some_and(|held| held.refers(subject, digest))
            }
            // None is left to be gathered.
            Key::ReferrersComplete(name) => repository(name).is_some(),
            _ => false,
        }
    }

    /// The descriptor of a referrer, as the registry stores it. Nothing if its manifest is
    /// damaged.
    fn descriptor(
        &self,
        held: &Repository,
        digest: &Digest,
    ) -> Result<Option<String>, StorageError> {
        let Some(bytes) = self.contents.manifest(digest)? else { return Ok(None) };
        let Ok(manifest) = Manifest::parse_stored(&bytes, held.manifest(digest)) else {
            return Ok(None);
        };
        let descriptor = Descriptor {
            media_type: manifest.media_type().clone(),
            digest: digest.clone(),
            size: bytes.len() as u64,
            artifact_type: manifest.effective_artifact_type().cloned(),
            annotations: manifest.annotations().clone(),
            urls: Vec::new(),
        };
        let json = serde_json::to_string(&descriptor);
        json.map(Some).map_err(|error| StorageError::Failed(error.to_string()))
    }

    /// Hashes bytes of a content, after those that were hashed already.
    fn hash(
        &self,
        digest: &Digest,
        from: Option<&Partial>,
        limit: u64,
    ) -> Result<Hashed, StorageError> {
        let size = self.size(digest)?;
        let offset = from.map_or(0, |from| from.offset);
        let mut hash = BlobHash::resume(digest.algorithm(), from)?;
        let end = size.min(offset.saturating_add(limit.clamp(1, HASH_LIMIT)));
        let mut at = offset;
        while at < end {
            let next = end.min(at + HASH_BUFFER);
            let parts = self.contents.parts(digest, at..next).ok_or(StorageError::NotFound)?;
            hash.update(&read_all(&parts)?);
            at = next;
        }
        Hashed::new(hash, offset, at - offset, size)
    }
}

/// Whether an operation may read files, or takes long. Others only look into memory.
fn reads_files(operation: &Operation) -> bool {
    match operation {
        Operation::Manifest { content, .. } | Operation::Blob { content, .. } => *content,
        Operation::Read(key) => matches!(key, Key::Blob(_) | Key::Referrer { .. }),
        Operation::Hash { .. } | Operation::Names(_) | Operation::Enumerate { .. } => true,
        _ => false,
    }
}

fn read_only() -> StorageError {
    StorageError::ReadOnly("archives are served as they are".to_owned())
}

/// The bytes of some parts of files, which are few.
fn read_all(parts: &[Part]) -> Result<Vec<u8>, StorageError> {
    let mut bytes = Vec::new();
    for Part { file, range } in parts {
        let size = usize::try_from(range.end.saturating_sub(range.start))
            .map_err(|_| StorageError::Failed("a part that is too long for memory".to_owned()))?;
        let read = read_at(file, range.start, size)?;
        if read.len() != size {
            return Err(StorageError::Failed("an archive has become shorter".to_owned()));
        }
        bytes.extend_from_slice(&read);
    }
    Ok(bytes)
}

/// Bytes as text that travels within a reply, if they are that, or else as a body.
fn inlined(bytes: Bytes) -> (Option<String>, Option<WasiBody>) {
    let text = (bytes.len() as u64 <= INLINE_LIMIT).then(|| std::str::from_utf8(&bytes));
    match text {
        Some(Ok(text)) => (Some(text.to_owned()), None),
        _ => (None, Some(full(bytes))),
    }
}

#[cfg(test)]
mod tests;
