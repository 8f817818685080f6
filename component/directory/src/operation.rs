//! The operations of the bridge, carried out.

use crate::file_range::{FileRange, WithContent};
use crate::{Appender, Directory};
use roadstead_bridge::storage::{Operation, Reply, Transfer, Write};
use roadstead_storage::{Commit, Key, StorageError};

/// A transfer whose body is being received.
#[derive(Debug)]
pub struct Receiver {
    appender: Appender,
    end: End,
    written: u64,
}

/// What becomes of the bytes at the end.
#[derive(Debug)]
enum End {
    /// `Transfer::Append`, and how many bytes are announced.
    Keep(Option<u64>),
    /// `Transfer::AppendAndCommit`.
    Commit(Commit),
}

impl Receiver {
    /// Takes the next bytes of the body.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.written += bytes.len() as u64;
        self.appender.write(bytes)
    }

    /// Writes what is held in memory to the file: for when no more bytes are
    /// expected soon.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn settle(&mut self) -> Result<(), StorageError> {
        self.appender.settle()
    }

    /// Ends the transfer, whose body is complete or ended early. The session
    /// keeps received bytes in either case.
    ///
    /// # Errors
    /// [`StorageError::Aborted`] when the body ended early, and what the
    /// operation says.
    pub fn finish(self, directory: &Directory, complete: bool) -> Result<Reply, StorageError> {
        let size = match self.end {
            _ if !complete => {
                self.appender.finish(directory)?;
                Err(StorageError::Aborted)
            }
            End::Keep(Some(length)) if length != self.written => {
                Err(StorageError::BodyLength(self.written))
            }
            End::Keep(_) => self.appender.finish(directory),
            End::Commit(commit) => directory.commit_appended(&commit, self.appender),
        };
        size.map(Reply::Size)
    }
}

impl Directory {
    /// Carries out an operation. The bytes that it reads are in the reply, or a
    /// part of a file.
    ///
    /// # Errors
    /// What the operation says.
    pub fn execute(&self, operation: &Operation) -> WithContent {
        let result = self.carry_out(operation);
        if finds_nothing(&result) {
            // Not because all of it is gone.
            self.present()?;
        }
        result
    }

    fn carry_out(&self, operation: &Operation) -> WithContent {
        let done = |()| (Reply::Done, None);
        match operation {
            Operation::Manifest { repository, reference, content } => {
                self.manifest(repository, reference, *content)
            }
            Operation::Blob { repository, digest, range, content } => {
                self.blob(repository, digest, *range, *content)
            }
            Operation::MissingBlobs { repository, digests } => {
                Ok((Reply::Missing(self.missing_blobs(repository, digests)?), None))
            }
            Operation::PushState { manifest, blobs } => {
                Ok((Reply::PushState(self.push_state(manifest, blobs)?), None))
            }
            Operation::MissingManifests { repository, digests } => {
                Ok((Reply::Missing(self.missing_manifests(repository, digests)?), None))
            }
            Operation::Hints { digest, limit } => {
                Ok((Reply::Repositories(self.hints(digest, *limit)?), None))
            }
            Operation::Read(key) => self.read(key),
            Operation::Exists(key) => Ok((Reply::Exists(self.holds(key)?), None)),
            Operation::Link { key, digest, media_type } => {
                self.link(key, digest, media_type.as_ref()).map(done)
            }
            Operation::LinkTag { repository, tag, digest } => {
                self.link_tag(repository, tag, digest).map(done)
            }
            Operation::CreateTag { repository, tag, digest } => {
                Ok((Reply::Created(self.create_tag(repository, tag, digest)?), None))
            }
            Operation::Remove(key) => self.remove(key).map(done),
            Operation::Unlink { key, digest } => match self.unlink(key, digest) {
                Ok(()) | Err(StorageError::NotFound) => Ok(done(())),
                Err(error) => Err(error),
            },
            Operation::Hash { digest, from, limit } => {
                Ok((Reply::Hashed(self.hash_blob(digest, from.as_ref(), *limit)?), None))
            }
            Operation::Quarantine(seen) => Ok((Reply::Exists(self.quarantine(seen)?), None)),
            Operation::Tidy(repository) => self.tidy(repository).map(done),
            Operation::Names(query) => Ok((Reply::Names(self.names(query)?), None)),
            Operation::Enumerate { collection, after, limit } => {
                Ok((Reply::Listing(self.enumerate(collection, after.as_ref(), *limit)?), None))
            }
            Operation::Begin(session) => self.begin(session).map(done),
            Operation::Status(session) => Ok((Reply::Size(self.status(session)?), None)),
            Operation::Commit(commit) => {
                let appender = self.append(&commit.session, commit.at)?;
                Ok((Reply::Size(self.commit_appended(commit, appender)?), None))
            }
            Operation::Discard(session) => self.discard(session).map(done),
        }
    }

    /// Carries out a write.
    ///
    /// # Errors
    /// What the operation says.
    pub fn write_value(&self, write: &Write, value: &[u8]) -> Result<Reply, StorageError> {
        match write {
            Write::Object(key) => self.write(key, value),
            Write::Manifest(manifest) => self.store_manifest(manifest, value),
        }
        .map(|()| Reply::Done)
    }

    /// Carries out an operation, and gives the bytes that it reads in memory:
    /// for values, which have a limit.
    ///
    /// # Errors
    /// What the operation says.
    pub fn fetch(&self, operation: &Operation) -> Result<(Reply, Vec<u8>), StorageError> {
        let (mut reply, file) = self.execute(operation)?;
        let bytes = match (reply.take_text(), file) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(file)) => file.read()?,
            (None, None) => Vec::new(),
        };
        Ok((reply, bytes))
    }

    /// Begins a transfer.
    ///
    /// # Errors
    /// What the operation says: then nothing of the body is needed.
    pub fn receive(&self, transfer: Transfer) -> Result<Receiver, StorageError> {
        let (appender, end) = match transfer {
            Transfer::Append { session, at, length } => {
                (self.append(&session, at)?, End::Keep(length))
            }
            Transfer::AppendAndCommit(commit) => {
                (self.append(&commit.session, commit.at)?, End::Commit(commit))
            }
        };
        Ok(Receiver { appender, end, written: 0 })
    }

    fn read(&self, key: &Key) -> WithContent {
        let (size, file) = self.open_object(key)?;
        if size > key.value_limit() as u64 {
            return Err(StorageError::Failed(format!("{key} has {size} bytes")));
        }
        let (text, file) = FileRange::new(file, 0..size).inlined()?;
        Ok((Reply::Value { size, text }, file))
    }
}

/// Whether a result says that something is not there.
fn finds_nothing(result: &WithContent) -> bool {
    match result {
        Err(error) => *error == StorageError::NotFound,
        Ok((reply, _)) => match reply {
            Reply::Exists(exists) => !exists,
            Reply::Missing(missing) => !missing.is_empty(),
            Reply::PushState(state) => {
                state.as_ref().is_some_and(|state| !state.held || !state.missing.is_empty())
            }
            Reply::Repositories(found) => found.is_empty(),
            Reply::Names(page) => page.names.is_empty(),
            Reply::Listing(listing) => listing.entries.is_empty(),
            Reply::Done
            | Reply::Created(_)
            | Reply::Hashed(_)
            | Reply::Size(_)
            | Reply::Manifest { .. }
            | Reply::Blob { .. }
            | Reply::Value { .. } => false,
        },
    }
}
