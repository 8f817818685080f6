//! What every storage does, as [`Storage`] says it: run over each adapter.
//!
//! [`check`] needs no empty storage: it makes repositories of its own, and
//! leaves them.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "these are tests")]

mod names;
mod objects;
mod sessions;

use super::{Content, Storage, keys};
use crate::native::{MemoryBody, NativeDownload};
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use roadstead_oci::{Algorithm, Digest, RepositoryName, UploadId};
use sha2::{Digest as _, Sha256, Sha512};
use std::convert::Infallible;
use uuid::Uuid;

/// Stored bytes that tests can read.
#[expect(async_fn_in_trait, reason = "no future needs to be Send")]
pub trait Readable {
    /// All of them.
    async fn read(self) -> Bytes;
}

impl Readable for Infallible {
    async fn read(self) -> Bytes {
        match self {}
    }
}

impl Readable for NativeDownload {
    async fn read(self) -> Bytes {
        let pieces: Vec<Bytes> = self.0.try_collect().await.unwrap();
        pieces.concat().into()
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

/// Runs all of it. `exclusive` says whether two requests that append at once
/// are kept apart, which some object stores cannot do.
pub async fn check<S>(storage: &S, exclusive: bool)
where
    S: Storage<Upload = MemoryBody, Download: Readable>,
{
    objects::check(storage).await;
    names::check(storage).await;
    sessions::check(storage).await;
    sessions::check_large(storage).await;
    if exclusive {
        sessions::check_races(storage).await;
    }
}

/// A repository that nobody else uses.
pub(super) fn repository() -> RepositoryName {
    RepositoryName::parse(&format!("contract/{}", Uuid::new_v4().simple())).unwrap()
}

/// A session of a repository that was not begun.
pub(super) fn new_session<S: Storage>(storage: &S, name: &RepositoryName) -> Path {
    let bits = storage.session_bits(&keys::uploads(name), Uuid::new_v4().into_bytes());
    keys::upload(name, &UploadId::from_random(bits))
}

/// Bytes that no other test has, of which each has a place.
pub(super) fn content(length: usize) -> Bytes {
    // The version, of which some bits are set, keeps it from being zero.
    let (mut state, _) = Uuid::new_v4().as_u64_pair();
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // Marsaglia's generator.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

pub(super) fn body(bytes: &[u8]) -> MemoryBody {
    MemoryBody { bytes: Bytes::copy_from_slice(bytes), aborted: false }
}

pub(super) fn broken(bytes: &[u8]) -> MemoryBody {
    MemoryBody { aborted: true, ..body(bytes) }
}

pub(super) fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
}

pub(super) fn sha512(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Algorithm::Sha512, &Sha512::digest(bytes)).unwrap()
}
