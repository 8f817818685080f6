//! The storage port.

use crate::condemned::Marker;
use crate::{
    Collection, Content, Cursor, Hashed, Key, Listing, NamesQuery, Page, Partial, PushState,
    PushedManifest, RequestBody, StorageError, UploadSession,
};
use bytes::Bytes;
use roadstead_oci::{ByteRange, Digest, MediaType, Reference, RepositoryName, Tag};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::{Duration, SystemTime};

/// Whatever holds the registry's content.
///
/// # Contract
/// - An operation that succeeded is durable, if [`Key::is_durable`].
/// - An object is visible whole or not at all.
/// - Reads check that the repository holds what is asked for: content of
///   another repository is [`StorageError::NotFound`].
/// - Of two requests that append to one session at once, one gets
///   [`StorageError::Busy`] or [`StorageError::Offset`].
/// - Before the bytes of an upload become the blob, [`prepare_upload`] is called
///   with its digest.
///
/// [`prepare_upload`]: crate::condemned::prepare_upload
///
/// `contract` in the crate of test helpers checks all of it over each adapter.
#[expect(async_fn_in_trait, reason = "a component has one thread; no future needs to be Send")]
pub trait Storage {
    /// The body of a request, as the platform hands it over.
    type Upload: RequestBody;
    /// Stored bytes, as the platform takes them for the body of a response.
    type Download;

    // Reads for clients: each adapter chooses the requests it takes.

    /// Opens the manifest that a reference of the repository stands for.
    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<StoredManifest<Content<Self::Download>>, StorageError>;

    /// The same without its bytes.
    async fn manifest_stat(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<StoredManifest<()>, StorageError>;

    /// Opens a blob of the repository, or a part of it.
    ///
    /// # Errors
    /// [`StorageError::Range`] when no byte of the range is in the blob. An
    /// empty blob has no ranges, and is given whole. [`StorageError::LinkMoved`] in the
    /// place of [`StorageError::NotFound`] when a collector has moved the repository's
    /// link, if the storage has no [`Storage::marker`].
    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
    ) -> Result<Blob<Self::Download>, StorageError>;

    /// The size in bytes of a blob of the repository; fails as [`Storage::blob`] does.
    async fn blob_size(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<u64, StorageError>;

    /// A URL at which a client without credentials gets a blob of the repository
    /// for a limited time. `None` where clients are not redirected.
    async fn blob_url(
        &self,
        _repository: &RepositoryName,
        _digest: &Digest,
    ) -> Result<Option<String>, StorageError> {
        Ok(None)
    }

    /// Which of some blobs the repository does not hold, in their order.
    async fn missing_blobs(
        &self,
        repository: &RepositoryName,
        digests: &[&Digest],
    ) -> Result<Vec<Digest>, StorageError>;

    /// Which of some manifests the repository does not hold, in their order: of each,
    /// the link is gone or the bytes are, as other registries' collectors leave it.
    async fn missing_manifests(
        &self,
        repository: &RepositoryName,
        digests: &[&Digest],
    ) -> Result<Vec<Digest>, StorageError>;

    /// A repository that holds the blob and is `readable`. An adapter may know
    /// only some of the repositories that hold a blob.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when none is known.
    async fn holder(
        &self,
        digest: &Digest,
        readable: impl Fn(&RepositoryName) -> bool,
    ) -> Result<RepositoryName, StorageError>;

    // Single objects.

    /// The value of an object, of at most [`Key::value_limit`] bytes.
    async fn read(&self, key: &Key) -> Result<Bytes, StorageError>;

    /// Whether an object exists.
    async fn exists(&self, key: &Key) -> Result<bool, StorageError>;

    /// Writes an object of at most [`Key::value_limit`] bytes whole.
    async fn write(&self, key: &Key, value: Bytes) -> Result<(), StorageError>;

    /// Writes a link to `digest`, with the media type of the manifest that it
    /// leads to and whatever else the adapter keeps with such a link.
    async fn link(
        &self,
        key: &Key,
        digest: &Digest,
        media_type: Option<&MediaType>,
    ) -> Result<(), StorageError>;

    /// Points a tag to a manifest; the entry in the tag's history is written first.
    async fn link_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        media_type: &MediaType,
    ) -> Result<(), StorageError> {
        let history = Key::TagHistory(repository.clone(), tag.clone(), digest.clone());
        self.link(&history, digest, None).await?;
        self.link(&Key::Tag(repository.clone(), tag.clone()), digest, Some(media_type)).await
    }

    /// Points a tag to a manifest, if it points to nothing yet, and says where it points to
    /// otherwise: of several that do so at the same time, one succeeds at most, unless they
    /// name the same manifest. The entry in the tag's history is written last, so that what is
    /// refused leaves none, except in a store that ignores conditions, where entries decide.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when that cannot be decided now, as another one does the
    /// same: a repetition may succeed.
    async fn create_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        media_type: &MediaType,
    ) -> Result<Created, StorageError>;

    /// Writes a manifest's bytes, its link and its tags, each durable before what leads to it.
    async fn store_manifest(
        &self,
        manifest: &PushedManifest,
        bytes: Bytes,
    ) -> Result<(), StorageError> {
        let PushedManifest { repository, digest, media_type, tags } = manifest;
        self.write(&Key::Blob(digest.clone()), bytes).await?;
        let revision = Key::Revision(repository.clone(), digest.clone());
        self.link(&revision, digest, Some(media_type)).await?;
        for tag in tags {
            self.link_tag(repository, tag, digest, media_type).await?;
        }
        Ok(())
    }

    /// What is there of a push of a manifest that relies on these blobs. It looks for
    /// announcements ([`Collection::Deletions`]) first: `None` if the repository has one, and
    /// where the adapter cannot tell all of it in one operation.
    async fn push_state(
        &self,
        _manifest: &PushedManifest,
        _blobs: &[&Digest],
    ) -> Result<Option<PushState>, StorageError> {
        Ok(None)
    }

    /// Deletes an object, with its companion. Idempotent.
    async fn delete(&self, key: &Key) -> Result<(), StorageError>;

    /// Deletes an object that must exist, with its companion.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when it does not.
    async fn remove(&self, key: &Key) -> Result<(), StorageError>;

    /// Deletes a link if it leads to `digest`, with its companion. Idempotent.
    async fn unlink(&self, key: &Key, digest: &Digest) -> Result<(), StorageError>;

    /// Removes what a process that died left of deleted objects of a repository and
    /// is itself none: empty directories, where the storage has any.
    async fn tidy(&self, repository: &RepositoryName) -> Result<(), StorageError>;

    /// Whether the repository's link to a manifest is there, with this media type:
    /// what a push has written.
    async fn holds_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        media_type: &MediaType,
    ) -> Result<bool, StorageError>;

    // The data of blobs, whichever repositories hold them, for maintenance.

    /// Hashes the stored bytes of a blob, after those that were hashed already: at most
    /// `limit`, or [`crate::HASH_LIMIT`] if that is less, and one at least.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when it has no data.
    async fn hash_blob(
        &self,
        digest: &Digest,
        from: Option<&Partial>,
        limit: u64,
    ) -> Result<Hashed, StorageError>;

    /// Moves the data of a blob to [`Key::Quarantined`], if it is what the caller has
    /// seen; if something is there already, that stays, and the data is deleted. In a
    /// bucket, what is written between the comparison and the deletion is lost: the
    /// caller has to know that nothing is.
    ///
    /// # Errors
    /// [`StorageError::Failed`] when the data is too large for the store to copy.
    async fn quarantine(&self, seen: &Quarantine) -> Result<bool, StorageError>;

    /// Lets `time` pass.
    async fn pause(&self, time: Duration);

    /// What is known of the marker of garbage collection, where each object costs a
    /// request. `None` where nobody asks for it, as a look for a tombstone is cheap.
    fn marker(&self) -> Option<&Marker>;

    // Lists.

    /// A page of names in lexical order.
    async fn names(&self, query: &NamesQuery) -> Result<Page, StorageError>;

    /// A part of a collection, in the order of keys: at most `limit` entries
    /// after `after`, or from the beginning. Memory and work of one call are
    /// bounded; objects that are written or deleted meanwhile may be listed or
    /// not, all others are.
    async fn enumerate(
        &self,
        collection: &Collection,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Listing, StorageError>;

    // Upload sessions.

    /// A name for a new session, made of random bytes.
    fn new_session(&self, repository: &RepositoryName, random: [u8; 16]) -> UploadSession {
        UploadSession::from_random(repository.clone(), random)
    }

    /// Makes an empty session with an identifier from [`Storage::new_session`]. Does nothing if
    /// the identifier alone stands for one.
    async fn begin(&self, session: &UploadSession) -> Result<(), StorageError>;

    /// How many bytes a session holds.
    async fn status(&self, session: &UploadSession) -> Result<u64, StorageError>;

    /// Appends a body to a session, which must end at byte `at` if that is
    /// given. If the body ends early, received bytes are kept, and the error is
    /// [`StorageError::Aborted`]; if it ends but is not `length` bytes long,
    /// nothing is kept.
    async fn append(
        &self,
        session: &UploadSession,
        at: Option<u64>,
        length: Option<u64>,
        body: Self::Upload,
    ) -> Result<Appended, StorageError>;

    /// Verifies a session's bytes against the digest, makes them the blob, and
    /// then links it in the session's repository: the link is written last.
    /// Returns the number of bytes. The session has ended afterwards, unless
    /// the error says that another attempt can succeed.
    async fn commit(&self, commit: &Commit) -> Result<u64, StorageError>;

    /// Appends a body to the session, and commits it if the body is complete.
    async fn append_and_commit(
        &self,
        commit: &Commit,
        body: Self::Upload,
    ) -> Result<u64, StorageError>;

    /// Makes a body a blob of the repository in one step, by way of the session
    /// of the commit, which must not have begun.
    async fn store(&self, commit: &Commit, body: Self::Upload) -> Result<u64, StorageError> {
        if let Err(error) = self.begin(&commit.session).await {
            body.drain().await;
            return Err(error);
        }
        let result = self.append_and_commit(commit, body).await;
        if result.is_err() {
            // No client knows its name. It may have ended already.
            let _ = self.discard(&commit.session).await;
        }
        result
    }

    /// Removes a session and its bytes.
    async fn discard(&self, session: &UploadSession) -> Result<(), StorageError>;
}

/// Data of a blob that is to be moved out of the way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Quarantine {
    /// The blob.
    pub digest: Digest,
    /// The size of the data in bytes, as [`Storage::enumerate`] gives it.
    pub size: u64,
    /// When the data was written, as [`Storage::enumerate`] gives it.
    pub modified: SystemTime,
    /// Whether only what takes time is done, before the data is deleted: in a bucket,
    /// the copy.
    #[serde(default)]
    pub prepare: bool,
}

/// What came of [`Storage::create_tag`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Created {
    /// The tag points to the manifest, since now or since before.
    Here,
    /// It points to this one, and goes on doing so.
    Elsewhere(Digest),
}

/// How an upload session is to end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Commit {
    /// The session. Its repository holds the blob afterwards.
    pub session: UploadSession,
    /// The byte at which the session must end before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// The digest that its bytes must have.
    pub digest: Digest,
    /// The receipt that [`Appended`] had, if the client sent it back: it can
    /// save a request to the storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

/// The result of appending to a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Appended {
    /// How many bytes the session holds.
    pub size: u64,
    /// If its bytes are stored as a blob already: proof of that, for
    /// [`Commit::receipt`].
    pub receipt: Option<String>,
}

impl From<u64> for Appended {
    fn from(size: u64) -> Self {
        Self { size, receipt: None }
    }
}

/// A manifest as it is stored.
#[derive(Debug)]
pub struct StoredManifest<C> {
    /// The digest that its reference stands for.
    pub digest: Digest,
    /// The media type that it was pushed with, where that was recorded.
    pub media_type: Option<MediaType>,
    /// Its size in bytes.
    pub size: u64,
    /// Its bytes, if they were asked for.
    pub content: C,
}

/// A blob, opened.
#[derive(Debug)]
pub struct Blob<D> {
    /// The size of the whole blob in bytes.
    pub size: u64,
    /// The part of it that `content` is.
    pub range: Range<u64>,
    /// The bytes.
    pub content: Content<D>,
}

/// The value of a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pointer {
    /// The digest that it leads to.
    pub digest: Digest,
    /// The media type that was recorded with it.
    pub media_type: Option<MediaType>,
}

impl Pointer {
    /// Parses the value of the link `key`.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when it is blank, and
    /// [`StorageError::Failed`] when it is anything else but a digest.
    pub fn parse(key: &Key, value: &[u8]) -> Result<Self, StorageError> {
        if is_blank(value) {
            return Err(StorageError::NotFound);
        }
        std::str::from_utf8(value)
            .ok()
            .and_then(|text| Digest::parse(text.trim_end()).ok())
            .map(|digest| Self { digest, media_type: None })
            .ok_or_else(|| StorageError::Failed(format!("{key} does not hold a digest")))
    }
}

/// Whether a value is what a loss of power leaves of a file that was not synced:
/// nothing, or zeros.
fn is_blank(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace())
}
