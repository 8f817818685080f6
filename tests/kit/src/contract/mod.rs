//! The contract of the storage port, [`Storage`]: every adapter passes
//! [`check`].
//!
//! It needs no empty storage: all it writes is in repositories of its own,
//! which it leaves behind.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "these are tests")]

mod content;
mod enumeration;
mod names;
mod objects;
mod scrub;
mod sessions;

use crate::body::{MemoryBody, NativeDownload};

use bytes::Bytes;
use futures::TryStreamExt as _;
use roadstead_oci::{Algorithm, Digest, MediaType, Reference, RepositoryName, Tag};
use roadstead_storage::{Commit, Content, Key, Storage, UploadSession};
use sha2::{Digest as _, Sha256, Sha512};
use std::convert::Infallible;
use uuid::Uuid;

/// Stored bytes that tests can read.
#[expect(async_fn_in_trait, reason = "no future needs to be Send")]
pub trait Readable {
    /// All of the bytes.
    async fn read(self) -> Bytes;
}

impl Readable for Infallible {
    async fn read(self) -> Bytes {
        match self {}
    }
}

impl Readable for NativeDownload {
    async fn read(self) -> Bytes {
        let chunks: Vec<Bytes> = self.0.try_collect().await.unwrap();
        chunks.concat().into()
    }
}

impl<D: Readable> Readable for Content<D> {
    async fn read(self) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Stream(stream) => stream.read().await,
        }
    }
}

/// A storage over which the contract can be checked.
trait Testable: Storage<Upload = MemoryBody, Download: Readable> {}

impl<S> Testable for S where S: Storage<Upload = MemoryBody, Download: Readable> {}

/// Checks the whole contract. `exclusive` says whether the storage keeps apart
/// two requests that append to a session at once, which object stores without
/// conditional writes cannot. A list of such a store, which is Garage, may also show for a
/// moment what was deleted: of the nodes that answer, each leaves out what it knows to be
/// deleted, so that one that does not know yet decides.
pub async fn check<S>(storage: &S, exclusive: bool)
where
    S: Storage<Upload = MemoryBody, Download: Readable>,
{
    objects::check(storage).await;
    content::check(storage).await;
    names::check(storage).await;
    enumeration::check(storage, exclusive).await;
    scrub::check(storage).await;
    sessions::check(storage).await;
    sessions::check_large(storage).await;
    if exclusive {
        sessions::check_races(storage).await;
    }
}

/// A repository that no other test uses.
pub fn repository() -> RepositoryName {
    RepositoryName::parse(&format!("contract/{}", Uuid::new_v4().simple())).unwrap()
}

/// A session of a repository, not begun.
pub fn new_session<S: Storage>(storage: &S, name: &RepositoryName) -> UploadSession {
    storage.new_session(name, Uuid::new_v4().into_bytes())
}

/// A commit of a session, wherever it ends.
pub fn commit_of(session: &UploadSession, digest: &Digest) -> Commit {
    Commit { session: session.clone(), at: None, digest: digest.clone(), receipt: None }
}

/// Makes bytes a blob of a repository.
async fn store<S: Testable>(storage: &S, name: &RepositoryName, digest: &Digest, bytes: &[u8]) {
    let commit = commit_of(&new_session(storage, name), digest);
    assert_eq!(storage.store(&commit, body(bytes)).await, Ok(bytes.len() as u64));
}

/// Bytes that no other test has, and that differ at every place.
pub fn content(length: usize) -> Bytes {
    let (seed, _) = Uuid::new_v4().as_u64_pair();
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes.into()
}

/// A complete body.
pub fn body(bytes: &[u8]) -> MemoryBody {
    MemoryBody { bytes: Bytes::copy_from_slice(bytes), aborted: false }
}

/// A body that ends early, after these bytes.
pub fn broken(bytes: &[u8]) -> MemoryBody {
    MemoryBody { aborted: true, ..body(bytes) }
}

/// The SHA-256 digest of bytes.
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
}

/// The SHA-512 digest of bytes.
pub fn sha512(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Algorithm::Sha512, &Sha512::digest(bytes)).unwrap()
}

fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

fn media_type(text: &str) -> MediaType {
    MediaType::parse(text).unwrap()
}

fn by_tag(text: &str) -> Reference {
    Reference::Tag(tag(text))
}

fn by_digest(digest: &Digest) -> Reference {
    Reference::Digest(digest.clone())
}

fn tag_key(name: &RepositoryName, text: &str) -> Key {
    Key::Tag(name.clone(), tag(text))
}
