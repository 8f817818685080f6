//! Bytes of an upload on their way into a session: hashed as they come, and
//! sent on in parts.
//!
//! While a part is on its way out, the next one comes in, so a request holds
//! at most [`super::MEMORY_LIMIT`] bytes.

use super::bucket::{Bucket, HOLDER};
use super::record::{Multipart, Record};
use super::{Aborted, ChunkedBody, parts};
use crate::store::{StorageError, keys};
use bytes::{Bytes, BytesMut};
use futures::future::join;
use object_store::path::Path;
use object_store::{Attribute, Attributes, PutMultipartOptions};
use sha2::{Digest as _, Sha256};

/// A session that bytes come into.
#[derive(Debug)]
pub(super) struct Intake {
    input: Input,
    multipart: Option<Multipart>,
    /// What a multipart upload that begins here becomes.
    target: Path,
    /// The repository that the session is of.
    holder: Option<String>,
    /// How many bytes the session will have, if that is known.
    length: Option<u64>,
    /// Whether the multipart upload is one that began here.
    began: bool,
}

/// What has come and was not sent on.
#[derive(Debug)]
struct Input {
    buffer: BytesMut,
    offset: u64,
    appended: u64,
    sha256: Sha256,
    hashing: Hashing,
    /// How the body ended, once it has.
    end: Option<Result<(), Aborted>>,
    /// How much the buffer is to hold.
    room: usize,
}

/// Who hashes what comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hashing {
    /// Nothing has come.
    Undecided,
    /// The platform, on the way here.
    There,
    Here,
}

/// How much more than a part a buffer holds at most, in bytes: a piece of a
/// body.
const PIECE: usize = 1024 * 1024;

impl Intake {
    /// Goes on with a session whose bytes, if they are too many to be held,
    /// become parts of `target`.
    pub(super) fn new(record: Record, session: &Path, target: Path, length: Option<u64>) -> Self {
        let Record { offset, sha256, multipart, tail, .. } = record;
        let buffer = tail.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&*shared));
        let input = Input {
            buffer,
            offset,
            appended: 0,
            sha256,
            hashing: Hashing::Undecided,
            end: None,
            room: 0,
        };
        let holder = keys::repository_of(session);
        Self { input, multipart, target, holder, length, began: false }
    }

    /// Reads at most as many bytes of a body as need no parts, and a piece
    /// more. Says how it ended, if these are all.
    pub(super) async fn read_first<B: ChunkedBody>(
        &mut self,
        body: &mut B,
    ) -> Option<Result<(), Aborted>> {
        self.input.fill(body, usize::try_from(parts::FIRST_SIZE).unwrap_or(usize::MAX)).await
    }

    /// Goes on with what came into a session that could not be recorded.
    pub(super) fn resumed(self, record: Record, end: Result<(), Aborted>) -> Self {
        let mut resumed = self.with(record);
        resumed.input.appended = resumed.input.offset;
        resumed.input.end = Some(end);
        resumed
    }

    /// Puts what has come after the bytes of another session.
    pub(super) fn moved_to(self, record: Record) -> Self {
        let (buffer, end) = (self.input.buffer.clone(), self.input.end);
        let mut moved = self.with(record);
        // The platform began with another hash, if it did.
        moved.input.hashing = Hashing::Here;
        moved.input.take(&buffer);
        moved.input.end = end;
        moved
    }

    /// The same for another record.
    fn with(self, record: Record) -> Self {
        Self {
            holder: self.holder,
            ..Self::new(record, &Path::default(), self.target, self.length)
        }
    }

    /// How many bytes have come.
    pub(super) fn appended(&self) -> u64 {
        self.input.appended
    }

    /// Reads a body to its end, or to where it breaks off.
    pub(super) async fn read<B: ChunkedBody>(
        &mut self,
        bucket: &Bucket,
        body: &mut B,
    ) -> Result<Result<(), Aborted>, StorageError> {
        let wanted = bucket.backend.part_size;
        let mut outgoing: Option<Bytes> = None;
        loop {
            let equal = self.multipart.as_ref().and_then(|multipart| multipart.equal);
            let sent = self.multipart.as_ref().map_or(0, |multipart| multipart.parts.len());
            let size = match equal {
                None if bucket.backend.equal_parts => Some(parts::equal_size(self.length, wanted)),
                equal => parts::size(sent + usize::from(outgoing.is_some()), equal, wanted),
            };
            let size = size.and_then(|size| usize::try_from(size).ok()).ok_or_else(too_large)?;
            let (end, part) = join(
                self.input.fill(body, size),
                bucket.send(self.multipart.as_ref(), outgoing.take()),
            )
            .await;
            if let (Some(part), Some(multipart)) = (part?, &mut self.multipart) {
                multipart.parts.push(part);
            }
            if let Some(end) = end {
                return Ok(end);
            }
            if self.multipart.is_none() {
                let equal = bucket.backend.equal_parts.then_some(size as u64);
                self.multipart =
                    Some(bucket.begin_parts(&self.target, self.holder.clone(), equal).await?);
                self.began = true;
            }
            outgoing = Some(self.input.buffer.split_to(size).freeze());
        }
    }

    /// The session with what has come.
    pub(super) fn into_record(self) -> Record {
        let Input { buffer, offset, sha256, .. } = self.input;
        let (multipart, tail) = (self.multipart, buffer.freeze());
        Record { offset, sha256, whole: None, multipart, tail }
    }

    /// What nobody knows of if this session is not recorded.
    pub(super) fn began(&self) -> Option<&Multipart> {
        self.multipart.as_ref().filter(|_| self.began)
    }
}

impl Input {
    fn take(&mut self, bytes: &[u8]) {
        if self.hashing != Hashing::There {
            self.sha256.update(bytes);
        }
        let length = self.buffer.len() + bytes.len();
        if length > self.buffer.capacity() {
            // By itself it would make room for twice a part.
            let room = (2 * length).min(self.room).max(length);
            let held = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(room));
            self.buffer.extend_from_slice(&held);
        }
        self.buffer.extend_from_slice(bytes);
        self.offset += bytes.len() as u64;
        self.appended += bytes.len() as u64;
    }

    /// Reads until there are more than `size` bytes, or all. The last part is
    /// thus never empty. Says how the body ended, if all have come.
    async fn fill<B: ChunkedBody>(
        &mut self,
        body: &mut B,
        size: usize,
    ) -> Option<Result<(), Aborted>> {
        self.room = size + PIECE;
        if self.hashing == Hashing::Undecided && self.end.is_none() {
            let there = body.begin_hash(&self.sha256).await;
            self.hashing = if there { Hashing::There } else { Hashing::Here };
        }
        while self.buffer.len() <= size {
            if self.end.is_some() {
                return self.end;
            }
            match body.chunk().await {
                Ok(Some(bytes)) => self.take(&bytes),
                Ok(None) => self.end = Some(Ok(())),
                Err(aborted) => self.end = Some(Err(aborted)),
            }
            if self.end.is_some() && self.hashing == Hashing::There {
                self.take_hash(body.end_hash());
            }
        }
        None
    }

    /// Without a hash, nothing has come that could count.
    fn take_hash(&mut self, sha256: Option<Sha256>) {
        if let Some(sha256) = sha256 {
            self.sha256 = sha256;
        } else {
            self.appended = 0;
            self.end = Some(Err(Aborted));
        }
    }
}

impl Bucket {
    /// Begins a multipart upload of what becomes `target`, which `holder` may
    /// hold.
    pub(super) async fn begin_parts(
        &self,
        target: &Path,
        holder: Option<String>,
        equal: Option<u64>,
    ) -> Result<Multipart, StorageError> {
        let (store, key) = (&self.backend.multipart, self.full(target));
        let holder = holder.map(|name| (Attribute::Metadata(HOLDER.into()), name));
        let attributes = Attributes::from_iter(holder);
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let id = match store.create_multipart_opts(&key, options).await {
            // Azure's client does not: then nobody is named.
            Err(
                object_store::Error::NotSupported { .. }
                | object_store::Error::NotImplemented { .. },
            ) => store.create_multipart(&key).await?,
            other => other?,
        };
        Ok(Multipart { key: target.to_string(), id, equal, parts: Vec::new() })
    }

    /// Sends a part, if there is one, and gives the store's name for it.
    pub(super) async fn send(
        &self,
        multipart: Option<&Multipart>,
        part: Option<Bytes>,
    ) -> Result<Option<String>, StorageError> {
        let (Some(multipart), Some(part)) = (multipart, part) else { return Ok(None) };
        let key = self.full(&Path::from(multipart.key.as_str()));
        let index = multipart.parts.len();
        let sent = self.backend.multipart.put_part(&key, &multipart.id, index, part.into());
        Ok(Some(sent.await?.content_id))
    }
}

fn too_large() -> StorageError {
    StorageError::Failed("the upload has more parts than an object can have".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Intake, PIECE};
    use crate::native::MemoryBucket;
    use crate::store::cloud::bucket::{Bucket, Options};
    use crate::store::cloud::parts::FIRST_SIZE;
    use crate::store::cloud::record::Record;
    use crate::store::contract::{body, content};
    use object_store::path::Path;

    #[tokio::test]
    async fn no_more_is_held_than_a_part_and_a_piece() {
        let bucket = Bucket::new(MemoryBucket::default().backend(""), Options::default());
        let first = usize::try_from(FIRST_SIZE).unwrap();
        for length in [1, 70_000, first, first + 1, 4 * first + 7] {
            let mut intake =
                Intake::new(Record::new(), &Path::from("session"), Path::from("target"), None);
            let bytes = content(length);
            assert_eq!(intake.read(&bucket, &mut body(&bytes)).await, Ok(Ok(())));
            let room = intake.input.buffer.capacity();
            assert!(room <= first + PIECE, "{room} for {length}");
            let sent = intake.multipart.as_ref().map_or(0, |multipart| multipart.parts.len());
            // The last part is never empty.
            assert_eq!(sent, (length - 1) / first);
            let record = intake.into_record();
            assert_eq!(record.tail, bytes.slice(sent * first..));
            assert_eq!(record.offset, length as u64);
        }
    }
}
