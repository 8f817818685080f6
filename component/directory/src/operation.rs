//! The operations of the bridge, carried out.

use crate::file_range::{FileRange, WithContent};
use crate::{Appender, Directory};
use roadstead_bridge::storage::{Operation, Reply, Transfer};
use roadstead_storage::{Commit, Key, StorageError, UploadSession};

/// A transfer whose body is being received.
#[derive(Debug)]
pub struct Receiver {
    target: Target,
    written: u64,
}

#[derive(Debug)]
enum Target {
    /// `Transfer::Write`: the value so far.
    Value(Key, Vec<u8>),
    /// `Transfer::Append`, and how many bytes are announced.
    Session(Box<Appender>, Option<u64>),
    /// `Transfer::AppendAndCommit`.
    Blob(Box<Appender>, Box<Commit>),
}

impl Receiver {
    /// Takes the next bytes of the body.
    ///
    /// # Errors
    /// When they cannot be written, or are more than the transfer takes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.written += bytes.len() as u64;
        match &mut self.target {
            Target::Value(key, value) => {
                let limit = key.value_limit();
                if value.len() + bytes.len() > limit {
                    return Err(StorageError::Failed(format!("{key}: more than {limit} bytes")));
                }
                value.extend_from_slice(bytes);
                Ok(())
            }
            Target::Session(appender, _) | Target::Blob(appender, _) => appender.write(bytes),
        }
    }

    /// Writes what is held in memory to the file: for when no more bytes are
    /// expected soon.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn settle(&mut self) -> Result<(), StorageError> {
        match &mut self.target {
            Target::Value(..) => Ok(()),
            Target::Session(appender, _) | Target::Blob(appender, _) => appender.settle(),
        }
    }

    /// Ends the transfer, whose body is complete or ended early. Received bytes
    /// of a session are kept in either case.
    ///
    /// # Errors
    /// [`StorageError::Aborted`] when the body ended early, and what the
    /// operation says.
    pub fn finish(self, directory: &Directory, complete: bool) -> Result<Reply, StorageError> {
        match self.target {
            Target::Value(key, value) if complete => {
                directory.write(&key, &value).map(|()| Reply::Done)
            }
            Target::Value(..) => Err(StorageError::Aborted),
            Target::Session(appender, _) | Target::Blob(appender, _) if !complete => {
                appender.finish(directory)?;
                Err(StorageError::Aborted)
            }
            Target::Session(_, Some(length)) if length != self.written => {
                Err(StorageError::BodyLength(self.written))
            }
            Target::Session(appender, _) => appender.finish(directory).map(Reply::Size),
            Target::Blob(appender, commit) => {
                directory.commit_appended(&commit, *appender).map(Reply::Size)
            }
        }
    }
}

impl Directory {
    /// Carries out an operation. The bytes that it reads are in the reply, or a
    /// part of a file.
    ///
    /// # Errors
    /// What the operation says.
    pub fn execute(&self, operation: &Operation) -> WithContent {
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
            Operation::Hints { digest, limit } => {
                Ok((Reply::Repositories(self.hints(digest, *limit)?), None))
            }
            Operation::Read(key) => self.read(key),
            Operation::Exists(key) => match self.size(key) {
                Ok(_) => Ok((Reply::Exists(true), None)),
                Err(StorageError::NotFound) => Ok((Reply::Exists(false), None)),
                Err(error) => Err(error),
            },
            Operation::Link { key, digest, media_type } => {
                self.link(key, digest, media_type.as_ref()).map(done)
            }
            Operation::Remove(key) => self.remove(key).map(done),
            Operation::Unlink { key, digest } => match self.unlink(key, digest) {
                Ok(()) | Err(StorageError::NotFound) => Ok(done(())),
                Err(error) => Err(error),
            },
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

    /// Begins an operation with a body.
    ///
    /// # Errors
    /// What the operation says: then nothing of the body is needed.
    pub fn receive(&self, transfer: Transfer) -> Result<Receiver, StorageError> {
        let append = |session: &UploadSession, at| self.append(session, at).map(Box::new);
        let target = match transfer {
            Transfer::Write(key) => Target::Value(key, Vec::new()),
            Transfer::Append { session, at, length } => {
                Target::Session(append(&session, at)?, length)
            }
            Transfer::AppendAndCommit(commit) => {
                Target::Blob(append(&commit.session, commit.at)?, Box::new(commit))
            }
        };
        Ok(Receiver { target, written: 0 })
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
