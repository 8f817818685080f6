//! Appends a body to a session: hashes its bytes, and sends them in parts.
//!
//! While one part is sent, the next one is received, so a request holds at most
//! [`super::MEMORY_LIMIT`] bytes.

use super::part_sizes;
use super::record::Record;
use crate::error::Error;
use crate::multipart::Multipart;
use crate::objects::Objects;
use bytes::{Bytes, BytesMut};
use futures::future::join;
use roadstead_oci::RepositoryName;
use roadstead_storage::{Aborted, ChunkedBody, Key};
use sha2::{Digest as _, Sha256};

/// Where the parts of a session go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The object that a multipart upload becomes, if one begins.
    pub(super) key: Key,
    /// The repository of the session.
    pub(super) repository: RepositoryName,
    /// How many bytes the session will have, if that is known.
    pub(super) length: Option<u64>,
}

/// A session that a body is appended to.
#[derive(Debug)]
pub(super) struct SessionWriter {
    received: Received,
    multipart: Option<Multipart>,
    target: Target,
    /// Whether this request began the multipart upload.
    began: bool,
}

/// The bytes that were received, and those of them that were not sent.
#[derive(Debug)]
struct Received {
    buffer: BytesMut,
    /// How many bytes the session has.
    size: u64,
    /// How many of them are of this body.
    appended: u64,
    sha256: Sha256,
    hasher: Hasher,
    /// How the body ended, once it has.
    end: Option<Result<(), Aborted>>,
    /// How much the buffer is to hold.
    room: usize,
}

/// Who hashes a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hasher {
    /// Nothing was received.
    Undecided,
    /// The platform, before the bytes arrive here.
    Platform,
    /// This writer.
    Writer,
}

/// How much more than a part a buffer holds at most, in bytes: a chunk of a body.
///
/// Limit: bytes that a buffer holds beyond a part; test:
/// `no_more_is_held_than_a_part_and_a_chunk`.
const CHUNK_LIMIT: usize = 1024 * 1024;

impl SessionWriter {
    /// Continues a session.
    pub(super) fn new(record: Record, target: Target) -> Self {
        let Record { size, sha256, multipart, tail } = record;
        let received = Received {
            buffer: tail.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&*shared)),
            size,
            appended: 0,
            sha256,
            hasher: Hasher::Undecided,
            end: None,
            room: 0,
        };
        Self { received, multipart, target, began: false }
    }

    /// Continues with a session that was received by one request and could not
    /// be recorded: all of it counts as the body, which ended like this.
    pub(super) fn received(record: Record, end: Result<(), Aborted>, target: Target) -> Self {
        let mut writer = Self::new(record, target);
        writer.received.appended = writer.received.size;
        writer.received.end = Some(end);
        writer
    }

    /// Puts what was received, which had no session to follow, after the bytes of
    /// a session.
    pub(super) fn after(self, record: Record) -> Self {
        if record.size == 0 {
            return self;
        }
        let mut writer = Self::new(record, self.target);
        // If the platform hashes, it began with another hash.
        writer.received.hasher = Hasher::Writer;
        writer.received.take(&self.received.buffer);
        writer.received.end = self.received.end;
        writer
    }

    /// How many bytes the session has.
    pub(super) fn size(&self) -> u64 {
        self.received.size
    }

    /// How many bytes of the body were received.
    pub(super) fn appended(&self) -> u64 {
        self.received.appended
    }

    /// Reads at most as many bytes as need no parts, and a chunk. Returns how the
    /// body ended, if these are all.
    pub(super) async fn read_first<B: ChunkedBody>(
        &mut self,
        body: &mut B,
    ) -> Option<Result<(), Aborted>> {
        let first = usize::try_from(part_sizes::FIRST_SIZE).unwrap_or(usize::MAX);
        self.received.fill(body, first).await
    }

    /// Reads a body to its end, also if that is early.
    pub(super) async fn read<B: ChunkedBody>(
        &mut self,
        objects: &Objects,
        body: &mut B,
    ) -> Result<Result<(), Aborted>, Error> {
        let mut outgoing: Option<Bytes> = None;
        loop {
            let size = self.next_part_size(objects, outgoing.is_some())?;
            let sending = async {
                match (&self.multipart, outgoing.take()) {
                    (Some(multipart), Some(part)) => {
                        objects.send_part(multipart, part).await.map(Some)
                    }
                    _ => Ok(None),
                }
            };
            let (end, sent) = join(self.received.fill(body, size), sending).await;
            if let (Some(name), Some(multipart)) = (sent?, &mut self.multipart) {
                multipart.parts.push(name);
            }
            if let Some(end) = end {
                return Ok(end);
            }
            if self.multipart.is_none() {
                let Target { key, repository, .. } = &self.target;
                let equal = objects.backend.equal_parts.then_some(size as u64);
                self.multipart = Some(objects.begin_multipart(key, repository, equal).await?);
                self.began = true;
            }
            outgoing = Some(self.received.buffer.split_to(size).freeze());
        }
    }

    /// The size of the next part in bytes, after those that were sent and one
    /// that may be in flight.
    fn next_part_size(&self, objects: &Objects, in_flight: bool) -> Result<usize, Error> {
        let least = objects.backend.part_size;
        let equal = self.multipart.as_ref().and_then(|multipart| multipart.equal);
        let sent = self.multipart.as_ref().map_or(0, |multipart| multipart.parts.len());
        let size = match equal {
            None if objects.backend.equal_parts => {
                Some(part_sizes::equal_size(self.target.length, least))
            }
            equal => part_sizes::size(sent + usize::from(in_flight), equal, least),
        };
        let size = size.and_then(|size| usize::try_from(size).ok());
        size.ok_or_else(|| Error::failed("the upload has more parts than an object can have"))
    }

    /// The session with what was received.
    pub(super) fn into_record(self) -> Record {
        let Received { buffer, size, sha256, .. } = self.received;
        Record { size, sha256, multipart: self.multipart, tail: buffer.freeze() }
    }

    /// A multipart upload that only this request knows of, as long as the session
    /// is not recorded.
    pub(super) fn unrecorded(&self) -> Option<&Multipart> {
        self.multipart.as_ref().filter(|_| self.began)
    }
}

impl Received {
    fn take(&mut self, bytes: &[u8]) {
        if self.hasher != Hasher::Platform {
            self.sha256.update(bytes);
        }
        let length = self.buffer.len() + bytes.len();
        if length > self.buffer.capacity() {
            // By itself, a buffer would grow to the size of two parts.
            let room = (2 * length).min(self.room).max(length);
            let held = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(room));
            self.buffer.extend_from_slice(&held);
        }
        self.buffer.extend_from_slice(bytes);
        self.size += bytes.len() as u64;
        self.appended += bytes.len() as u64;
    }

    /// Reads until the buffer holds more than `size` bytes, so that the last part
    /// is never empty, or the body has ended. Returns how it ended.
    async fn fill<B: ChunkedBody>(
        &mut self,
        body: &mut B,
        size: usize,
    ) -> Option<Result<(), Aborted>> {
        self.room = size + CHUNK_LIMIT;
        if self.hasher == Hasher::Undecided && self.end.is_none() {
            let platform = body.begin_hash(&self.sha256).await;
            self.hasher = if platform { Hasher::Platform } else { Hasher::Writer };
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
            if self.end.is_some() && self.hasher == Hasher::Platform {
                self.take_hash(body.end_hash());
            }
        }
        None
    }

    /// Takes the platform's hash at the end of a body. Without it, nothing that
    /// was received can count.
    fn take_hash(&mut self, sha256: Option<Sha256>) {
        if let Some(sha256) = sha256 {
            self.sha256 = sha256;
        } else {
            self.appended = 0;
            self.end = Some(Err(Aborted));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::part_sizes::FIRST_SIZE;
    use super::{CHUNK_LIMIT, SessionWriter, Target};
    use crate::objects::Objects;
    use crate::tests::{body, content};
    use crate::uploads::record::Record;
    use roadstead_kit::bucket::MemoryBucket;
    use roadstead_oci::RepositoryName;
    use roadstead_storage::{Key, SessionFile, UploadSession};

    #[tokio::test]
    async fn no_more_is_held_than_a_part_and_a_chunk() {
        let objects = Objects::new(MemoryBucket::default().backend(""));
        let repository = RepositoryName::parse("a").unwrap();
        let session = UploadSession::from_random(repository.clone(), [1; 16]);
        let key = Key::SessionObject(session, SessionFile::parts(1));
        let first = usize::try_from(FIRST_SIZE).unwrap();
        for length in [1, 70_000, first, first + 1, 4 * first + 7] {
            let target = Target { key: key.clone(), repository: repository.clone(), length: None };
            let mut writer = SessionWriter::new(Record::default(), target);
            let bytes = content(length);
            assert_eq!(writer.read(&objects, &mut body(&bytes)).await, Ok(Ok(())));
            let room = writer.received.buffer.capacity();
            assert!(room <= first + CHUNK_LIMIT, "{room} for {length}");
            let sent = writer.multipart.as_ref().map_or(0, |multipart| multipart.parts.len());
            // The last part is never empty.
            assert_eq!(sent, (length - 1) / first);
            let record = writer.into_record();
            assert_eq!(record.tail, bytes.slice(sent * first..));
            assert_eq!(record.size, length as u64);
        }
    }
}
