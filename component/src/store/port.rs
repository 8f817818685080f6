//! The storage port: what the registry asks of whatever holds its bytes.

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use roadstead_buckets::is_unavailable;
use roadstead_directory::{Depth, Names as Page};
use roadstead_oci::{ByteRange, Digest, MediaType, RepositoryName};
use std::fmt;
use std::ops::Range;

/// Whatever holds the registry's bytes.
///
/// Small objects, lists and copies go through [`ObjectStore`]. The operations
/// here are those that it lacks: bulk bytes as handles that are passed on
/// untouched, upload sessions that outlive a request, and ordered names.
///
/// # Contract
/// An operation that succeeded is durable, except within an upload session.
/// An object is visible whole or not at all. Two requests that append to one
/// session at once: one of them gets [`StorageError::Busy`] or
/// [`StorageError::Offset`].
#[expect(async_fn_in_trait, reason = "a component has one thread; no future needs to be Send")]
pub trait Storage {
    /// A request's body, as the platform hands it over.
    type Upload: RequestBody;
    /// Stored bytes, as the platform takes them for a response's body.
    type Download;

    /// Whether companions come in the same step as the object that they belong
    /// to. Where each is a request of its own, small objects that only help
    /// are not written: hints, and the media types beside manifests, which are
    /// kept with the pointers then; see [`Storage::point`].
    const ONE_STEP: bool;

    /// Objects, lists, conditional writes and copies.
    fn objects(&self) -> &dyn ObjectStore;

    /// Opens an object, or a part of it. `companions` are small objects whose
    /// values are wanted as well, in the same step where that is possible.
    async fn open(
        &self,
        key: &Path,
        range: Option<ByteRange>,
        companions: &[Path],
    ) -> Result<Opened<Self::Download>, StorageError>;

    /// The same without the bytes.
    async fn stat(&self, key: &Path, companions: &[Path]) -> Result<Stat, StorageError>;

    /// Reads a pointer: a small object that holds a digest.
    async fn pointer(&self, key: &Path) -> Result<Pointer, StorageError>;

    /// Writes a pointer. Where [`Storage::ONE_STEP`] is not so, the media type
    /// of what it leads to is kept with it.
    async fn point(
        &self,
        key: &Path,
        digest: &Digest,
        media_type: Option<&MediaType>,
    ) -> Result<(), StorageError>;

    /// Deletes an object that must be there.
    async fn remove(&self, key: &Path) -> Result<(), StorageError>;

    /// Where a client that knows no secret gets an object itself for a while,
    /// if the storage is one that clients can reach and are to be sent to.
    async fn url(&self, key: &Path) -> Result<Option<String>, StorageError>;

    /// A repository that may hold the blob `key`, if the storage keeps that with
    /// a blob.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] without such a blob.
    async fn holder(&self, _key: &Path) -> Result<Option<RepositoryName>, StorageError> {
        Ok(None)
    }

    /// A page of names below a directory, in lexical order.
    async fn names(&self, query: Names<'_>) -> Result<Page, StorageError>;

    /// Deletes an object, if its value is `value`. That it is gone already is
    /// no error.
    async fn delete_value(&self, key: &Path, value: &str) -> Result<(), StorageError>;

    /// The bits of an identifier for a new session below the directory
    /// `uploads`, made of random ones.
    fn session_bits(&self, _uploads: &Path, random: [u8; 16]) -> [u8; 16] {
        random
    }

    /// Makes an upload session under a name that was never used, of an
    /// identifier with [`Storage::session_bits`].
    async fn begin(&self, session: &Path) -> Result<(), StorageError>;

    /// How many bytes a session holds.
    async fn status(&self, session: &Path) -> Result<u64, StorageError>;

    /// Appends a body to a session, which must end at `at` if that is given. If the body breaks off, what came counts, and the
    /// answer is [`StorageError::Aborted`]; if it ends but is not `length`
    /// long, nothing counts.
    async fn append(
        &self,
        session: &Path,
        at: Option<u64>,
        length: Option<u64>,
        body: Self::Upload,
    ) -> Result<Appended, StorageError>;

    /// Ends a session without another look at it, if `receipt` is one of
    /// [`Storage::append`] that says that its bytes are the blob `digest`.
    /// Writes `links`, as [`Storage::commit`] does. `false`, and nothing is
    /// done, if it does not.
    async fn conclude(
        &self,
        _session: &Path,
        _receipt: &str,
        _digest: &Digest,
        _links: &[(Path, String)],
    ) -> Result<bool, StorageError> {
        Ok(false)
    }

    /// Appends a body, if there is one, verifies the session's bytes against
    /// `digest` and makes them the object `to`. Then writes `links`, each a
    /// small object, in their order: none is there before the object is.
    /// Returns the number of bytes. The session is gone afterwards unless the
    /// body broke off or did not start at the session's end.
    async fn commit(
        &self,
        session: &Path,
        at: Option<u64>,
        body: Option<Self::Upload>,
        to: &Path,
        digest: &Digest,
        links: &[(Path, String)],
    ) -> Result<u64, StorageError>;

    /// Removes a session and its bytes.
    async fn discard(&self, session: &Path) -> Result<(), StorageError>;

    /// Makes a body an object in one step: a session from its beginning to its
    /// end, whose name nobody else learns.
    async fn store(
        &self,
        session: &Path,
        body: Option<Self::Upload>,
        to: &Path,
        digest: &Digest,
        links: &[(Path, String)],
    ) -> Result<u64, StorageError> {
        self.begin(session).await?;
        let result = self.commit(session, None, body, to, digest, links).await;
        if result.is_err() {
            // Nobody can go on with it. It may be gone already.
            let _ = self.discard(session).await;
        }
        result
    }
}

/// How much of a body is read and forgotten before an early answer, in bytes.
/// A manifest over the limit fits; a layer does not.
pub const DRAIN_LIMIT: u64 = 16 * 1024 * 1024;

/// A request's body before anyone has read it.
#[expect(async_fn_in_trait, reason = "a component has one thread; no future needs to be Send")]
pub trait RequestBody: Sized {
    /// The whole body, if it has at most `limit` bytes. The rest of a longer
    /// one is drained.
    async fn collect(self, limit: usize) -> Result<Bytes, BodyError>;

    /// Reads and forgets at most [`DRAIN_LIMIT`] bytes, so that a client which
    /// sends all of its body before it reads gets to see an early answer.
    async fn drain(self);
}

/// Why a body could not be collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyError {
    /// It is longer than the limit.
    TooLarge,
    /// It broke off before its end.
    Aborted,
}

/// What came of appending to a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Where the session ends now.
    pub size: u64,
    /// If its bytes are a blob already: what proves it, for
    /// [`Storage::conclude`].
    pub receipt: Option<String>,
}

impl From<u64> for Appended {
    fn from(size: u64) -> Self {
        Self { size, receipt: None }
    }
}

/// Which names are asked for.
#[derive(Clone, Debug)]
pub struct Names<'a> {
    /// Below which directory; a missing one holds no names.
    pub parent: Path,
    /// What a named directory contains.
    pub marker: Path,
    /// Whether the markers' values are wanted too.
    pub values: bool,
    /// How far to look.
    pub depth: Depth,
    /// The name after which the page begins; it need not exist.
    pub after: Option<&'a str>,
    /// At most so many.
    pub limit: usize,
}

/// What is known of an object without reading it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Size in bytes.
    pub size: u64,
    /// The values of the companions, in their order.
    pub companions: Vec<Option<String>>,
}

/// An object, opened.
#[derive(Debug)]
pub struct Opened<D> {
    /// Size of the whole object, in bytes.
    pub size: u64,
    /// The part that `content` is.
    pub range: Range<u64>,
    /// The values of the companions, in their order.
    pub companions: Vec<Option<String>>,
    /// The bytes.
    pub content: Content<D>,
}

/// What a pointer holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pointer {
    /// The digest of what it leads to.
    pub digest: Digest,
    /// The media type that was kept with it.
    pub media_type: Option<MediaType>,
}

impl Pointer {
    /// Reads the text of a pointer at `key`.
    pub(super) fn parse(key: &Path, text: &[u8]) -> Result<Self, StorageError> {
        std::str::from_utf8(text)
            .ok()
            .and_then(|text| Digest::parse(text.trim_end()).ok())
            .map(|digest| Self { digest, media_type: None })
            .ok_or_else(|| StorageError::Failed(format!("{key} holds no digest")))
    }
}

/// Stored bytes: small ones at hand, others as a handle.
#[derive(Debug)]
pub enum Content<D> {
    /// The bytes themselves.
    Bytes(Bytes),
    /// A handle to them.
    Stream(D),
}

/// Why a storage operation failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StorageError {
    /// There is no such object or session.
    NotFound,
    /// The object exists and was to be created.
    AlreadyExists,
    /// The session ends here, and not where the bytes were to be appended.
    Offset(u64),
    /// Another request is appending to the session.
    Busy,
    /// The bytes have this digest, if it is known, and not the one they were to
    /// have.
    DigestMismatch(Option<Digest>),
    /// No byte of the range is in the object, which has this size.
    Range(u64),
    /// The request's body broke off.
    Aborted,
    /// The request's body had this length, and not the one announced.
    BodyLength(u64),
    /// The storage cannot be reached or does not serve now, and may soon. The
    /// text is for the log and never for clients.
    Unavailable(String),
    /// The storage failed. The text is for the log and never for clients.
    Failed(String),
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::AlreadyExists => f.write_str("already exists"),
            Self::Offset(offset) => write!(f, "the session ends at byte {offset}"),
            Self::Busy => f.write_str("another request is appending to the session"),
            Self::DigestMismatch(Some(digest)) => write!(f, "the content has the digest {digest}"),
            Self::DigestMismatch(None) => f.write_str("the content has another digest"),
            Self::Range(size) => write!(f, "no byte of the range is in the {size} bytes"),
            Self::Aborted => f.write_str("the body broke off"),
            Self::BodyLength(length) => write!(f, "the body had {length} bytes"),
            Self::Unavailable(cause) | Self::Failed(cause) => f.write_str(cause),
        }
    }
}

impl std::error::Error for StorageError {}

impl From<object_store::Error> for StorageError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound,
            object_store::Error::AlreadyExists { .. } => Self::AlreadyExists,
            error if is_unavailable(&error) => Self::Unavailable(error.to_string()),
            error => Self::Failed(error.to_string()),
        }
    }
}
