//! The storage port over a directory, near or far.
//!
//! With a native host, operations travel to the host that holds the directory;
//! over a mounted directory, the component carries them out itself. What
//! differs is the [`Transport`].

use bytes::Bytes;
use roadstead_bridge::storage::{DIGESTS_LIMIT, Operation, Reply, Transfer, Write};
use roadstead_oci::{ByteRange, Digest, MediaType, Reference, RepositoryName, Tag};
use roadstead_storage::condemned::{Marker, prepare_upload};
use roadstead_storage::{
    Appended, Blob, Collection, Commit, Content, Created, Cursor, Hashed, Key, Listing, NamesQuery,
    Page, Partial, PushState, PushedManifest, Quarantine, RequestBody, SessionSecret, Storage,
    StorageError, StoredManifest, UploadSession,
};
use std::fmt;
use std::time::Duration;

/// How many repositories that may hold a blob are looked at, for a mount that
/// names none.
///
/// Limit: repositories that are looked at for a mount without `from`; test: none,
/// more are not looked at.
const HOLDERS_LIMIT: usize = 16;

/// How operations reach a directory.
#[expect(async_fn_in_trait, reason = "a component has one thread; no future needs to be Send")]
pub trait Transport: fmt::Debug {
    /// See [`Storage::Upload`].
    type Upload: RequestBody;
    /// See [`Storage::Download`].
    type Download;

    /// Carries out an operation, and gives the bytes that it reads in memory:
    /// for values, which have a limit.
    async fn execute(&self, operation: Operation) -> Result<(Reply, Bytes), StorageError>;

    /// Carries out an operation, and gives the bytes that it reads as content.
    async fn open(
        &self,
        operation: Operation,
    ) -> Result<(Reply, Content<Self::Download>), StorageError>;

    /// Carries out a write.
    async fn write(&self, write: Write, value: Bytes) -> Result<Reply, StorageError>;

    /// Lets `time` pass.
    async fn pause(&self, time: Duration);

    /// What identifiers of sessions are signed with, so that a session begins without an
    /// operation; `None` where it takes one.
    fn session_secret(&self) -> Option<&SessionSecret>;

    /// Carries out a transfer with the body of a request.
    async fn transfer(&self, transfer: Transfer, body: Self::Upload)
    -> Result<Reply, StorageError>;
}

/// The storage port over the directory that a transport leads to.
#[derive(Debug)]
pub struct DirectoryStorage<T>(pub T);

impl<T: Transport> DirectoryStorage<T> {
    async fn reply(&self, operation: Operation) -> Result<Reply, StorageError> {
        Ok(self.0.execute(operation).await?.0)
    }

    /// Asks by operations which of some content the repository does not hold.
    async fn missing(
        &self,
        repository: &RepositoryName,
        digests: &[&Digest],
        operation: impl Fn(RepositoryName, Vec<Digest>) -> Operation,
    ) -> Result<Vec<Digest>, StorageError> {
        let mut missing = Vec::new();
        for digests in digests.chunks(DIGESTS_LIMIT) {
            let digests = digests.iter().map(|&digest| digest.clone()).collect();
            match self.reply(operation(repository.clone(), digests)).await? {
                Reply::Missing(digests) => missing.extend(digests),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(missing)
    }
}

impl<T: Transport> Storage for DirectoryStorage<T> {
    type Upload = T::Upload;
    type Download = T::Download;

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<StoredManifest<Content<T::Download>>, StorageError> {
        let (repository, reference) = (repository.clone(), reference.clone());
        let operation = Operation::Manifest { repository, reference, content: true };
        match self.0.open(operation).await? {
            (Reply::Manifest { digest, media_type, size, .. }, content) => {
                Ok(StoredManifest { digest, media_type, size, content })
            }
            (other, _) => Err(unexpected(&other)),
        }
    }

    async fn manifest_stat(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<StoredManifest<()>, StorageError> {
        let (repository, reference) = (repository.clone(), reference.clone());
        let operation = Operation::Manifest { repository, reference, content: false };
        match self.reply(operation).await? {
            Reply::Manifest { digest, media_type, size, .. } => {
                Ok(StoredManifest { digest, media_type, size, content: () })
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
    ) -> Result<Blob<T::Download>, StorageError> {
        let (repository, digest) = (repository.clone(), digest.clone());
        let operation = Operation::Blob { repository, digest, range, content: true };
        match self.0.open(operation).await? {
            (Reply::Blob { size, range, .. }, content) => Ok(Blob { size, range, content }),
            (other, _) => Err(unexpected(&other)),
        }
    }

    async fn blob_size(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<u64, StorageError> {
        let (repository, digest) = (repository.clone(), digest.clone());
        let operation = Operation::Blob { repository, digest, range: None, content: false };
        match self.reply(operation).await? {
            Reply::Blob { size, .. } => Ok(size),
            other => Err(unexpected(&other)),
        }
    }

    async fn missing_blobs(
        &self,
        repository: &RepositoryName,
        digests: &[&Digest],
    ) -> Result<Vec<Digest>, StorageError> {
        let operation = |repository, digests| Operation::MissingBlobs { repository, digests };
        self.missing(repository, digests, operation).await
    }

    async fn missing_manifests(
        &self,
        repository: &RepositoryName,
        digests: &[&Digest],
    ) -> Result<Vec<Digest>, StorageError> {
        let operation = |repository, digests| Operation::MissingManifests { repository, digests };
        self.missing(repository, digests, operation).await
    }

    async fn holder(
        &self,
        digest: &Digest,
        readable: impl Fn(&RepositoryName) -> bool,
    ) -> Result<RepositoryName, StorageError> {
        let operation = Operation::Hints { digest: digest.clone(), limit: HOLDERS_LIMIT };
        let hinted = match self.reply(operation).await? {
            Reply::Repositories(hinted) => hinted,
            other => return Err(unexpected(&other)),
        };
        for repository in hinted.into_iter().filter(readable) {
            match self.blob_size(&repository, digest).await {
                Ok(_) => return Ok(repository),
                Err(StorageError::NotFound | StorageError::LinkMoved) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StorageError::NotFound)
    }

    async fn read(&self, key: &Key) -> Result<Bytes, StorageError> {
        Ok(self.0.execute(Operation::Read(key.clone())).await?.1)
    }

    async fn exists(&self, key: &Key) -> Result<bool, StorageError> {
        match self.reply(Operation::Exists(key.clone())).await? {
            Reply::Exists(exists) => Ok(exists),
            other => Err(unexpected(&other)),
        }
    }

    async fn write(&self, key: &Key, value: Bytes) -> Result<(), StorageError> {
        self.0.write(Write::Object(key.clone()), value).await.map(drop)
    }

    async fn store_manifest(
        &self,
        manifest: &PushedManifest,
        bytes: Bytes,
    ) -> Result<(), StorageError> {
        self.0.write(Write::Manifest(manifest.clone()), bytes).await.map(drop)
    }

    async fn push_state(
        &self,
        manifest: &PushedManifest,
        blobs: &[&Digest],
    ) -> Result<Option<PushState>, StorageError> {
        if blobs.len() > DIGESTS_LIMIT {
            return Ok(None);
        }
        let blobs = blobs.iter().map(|&digest| digest.clone()).collect();
        match self.reply(Operation::PushState { manifest: manifest.clone(), blobs }).await? {
            Reply::PushState(state) => Ok(state),
            other => Err(unexpected(&other)),
        }
    }

    async fn link(
        &self,
        key: &Key,
        digest: &Digest,
        media_type: Option<&MediaType>,
    ) -> Result<(), StorageError> {
        let (key, digest, media_type) = (key.clone(), digest.clone(), media_type.cloned());
        self.reply(Operation::Link { key, digest, media_type }).await.map(drop)
    }

    async fn link_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        // A directory keeps it with the revision's link.
        _: &MediaType,
    ) -> Result<(), StorageError> {
        let (repository, tag, digest) = (repository.clone(), tag.clone(), digest.clone());
        self.reply(Operation::LinkTag { repository, tag, digest }).await.map(drop)
    }

    async fn create_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        // A directory keeps it with the revision's link.
        _: &MediaType,
    ) -> Result<Created, StorageError> {
        let (repository, tag, digest) = (repository.clone(), tag.clone(), digest.clone());
        match self.reply(Operation::CreateTag { repository, tag, digest }).await? {
            Reply::Created(created) => Ok(created),
            other => Err(unexpected(&other)),
        }
    }

    async fn delete(&self, key: &Key) -> Result<(), StorageError> {
        match self.remove(key).await {
            Err(StorageError::NotFound) => Ok(()),
            result => result,
        }
    }

    async fn remove(&self, key: &Key) -> Result<(), StorageError> {
        self.reply(Operation::Remove(key.clone())).await.map(drop)
    }

    async fn unlink(&self, key: &Key, digest: &Digest) -> Result<(), StorageError> {
        let (key, digest) = (key.clone(), digest.clone());
        self.reply(Operation::Unlink { key, digest }).await.map(drop)
    }

    async fn tidy(&self, repository: &RepositoryName) -> Result<(), StorageError> {
        self.reply(Operation::Tidy(repository.clone())).await.map(drop)
    }

    async fn holds_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        media_type: &MediaType,
    ) -> Result<bool, StorageError> {
        match self.manifest_stat(repository, &Reference::Digest(digest.clone())).await {
            Ok(stat) => Ok(stat.media_type.as_ref() == Some(media_type)),
            Err(StorageError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn hash_blob(
        &self,
        digest: &Digest,
        from: Option<&Partial>,
        limit: u64,
    ) -> Result<Hashed, StorageError> {
        let (digest, from) = (digest.clone(), from.cloned());
        match self.reply(Operation::Hash { digest, from, limit }).await? {
            Reply::Hashed(hashed) => Ok(hashed),
            other => Err(unexpected(&other)),
        }
    }

    async fn quarantine(&self, seen: &Quarantine) -> Result<bool, StorageError> {
        match self.reply(Operation::Quarantine(seen.clone())).await? {
            Reply::Exists(moved) => Ok(moved),
            other => Err(unexpected(&other)),
        }
    }

    async fn pause(&self, time: Duration) {
        self.0.pause(time).await;
    }

    fn marker(&self) -> Option<&Marker> {
        None
    }

    async fn names(&self, query: &NamesQuery) -> Result<Page, StorageError> {
        match self.reply(Operation::Names(query.clone())).await? {
            Reply::Names(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    async fn enumerate(
        &self,
        collection: &Collection,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Listing, StorageError> {
        let (collection, after) = (collection.clone(), after.cloned());
        match self.reply(Operation::Enumerate { collection, after, limit }).await? {
            Reply::Listing(listing) => Ok(listing),
            other => Err(unexpected(&other)),
        }
    }

    fn new_session(&self, repository: &RepositoryName, random: [u8; 16]) -> UploadSession {
        UploadSession::new(repository, random, self.0.session_secret())
    }

    async fn begin(&self, session: &UploadSession) -> Result<(), StorageError> {
        if self.0.session_secret().is_some_and(|secret| secret.recognizes(session)) {
            return Ok(());
        }
        self.reply(Operation::Begin(session.clone())).await.map(drop)
    }

    async fn status(&self, session: &UploadSession) -> Result<u64, StorageError> {
        size(self.reply(Operation::Status(session.clone())).await?)
    }

    async fn append(
        &self,
        session: &UploadSession,
        at: Option<u64>,
        length: Option<u64>,
        body: T::Upload,
    ) -> Result<Appended, StorageError> {
        let transfer = Transfer::Append { session: session.clone(), at, length };
        size(self.0.transfer(transfer, body).await?).map(Appended::from)
    }

    async fn commit(&self, commit: &Commit) -> Result<u64, StorageError> {
        prepare_upload(self, &commit.digest).await?;
        size(self.reply(Operation::Commit(commit.clone())).await?)
    }

    async fn append_and_commit(
        &self,
        commit: &Commit,
        body: T::Upload,
    ) -> Result<u64, StorageError> {
        if let Err(error) = prepare_upload(self, &commit.digest).await {
            body.drain().await;
            return Err(error);
        }
        size(self.0.transfer(Transfer::AppendAndCommit(commit.clone()), body).await?)
    }

    async fn discard(&self, session: &UploadSession) -> Result<(), StorageError> {
        self.reply(Operation::Discard(session.clone())).await.map(drop)
    }
}

fn size(reply: Reply) -> Result<u64, StorageError> {
    match reply {
        Reply::Size(size) => Ok(size),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(reply: &Reply) -> StorageError {
    StorageError::Failed(format!("the store answered {reply:?}"))
}
