//! Storage operations: what the component has a native host do in its directory.
//!
//! A request `PUT http://store.internal/` has an [`Operation`] in the header
//! [`OPERATION`] and no body, a [`Write`] in the header [`WRITE`] with the object's
//! value as its body, or a [`Transfer`] in the header [`TRANSFER`] with the bytes
//! of an upload as its body. The response has the status 200 and a
//! `Result<Reply, StorageError>` in the header [`REPLY`]; where that is longer
//! than [`REPLY_HEADER_LIMIT`] the header is [`REPLY_IN_BODY`] and the body is
//! the reply. Otherwise the body is the content that was read, unless it travels
//! within the reply: short text does, since a body costs more than a header.
//!
//! Over a mounted directory, without a native host, the component carries the
//! same operations out itself.

use http::HeaderName;
use roadstead_oci::{ByteRange, Digest, MediaType, Reference, RepositoryName, Tag};
use roadstead_storage::{
    Collection, Commit, Created, Cursor, Hashed, Key, Listing, NamesQuery, Page, Partial,
    PushState, PushedManifest, Quarantine, UploadSession,
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The authority at which a native host answers.
pub const AUTHORITY: &str = "store.internal";

/// The header that holds an [`Operation`].
pub const OPERATION: HeaderName = HeaderName::from_static("store-operation");

/// The header that holds a [`Write`].
pub const WRITE: HeaderName = HeaderName::from_static("store-write");

/// The header that holds a [`Transfer`].
pub const TRANSFER: HeaderName = HeaderName::from_static("store-transfer");

/// The header that holds a `Result<Reply, StorageError>`.
pub const REPLY: HeaderName = HeaderName::from_static("store-reply");

/// The value of [`REPLY`] where the body is the reply.
pub const REPLY_IN_BODY: &str = "body";

/// The longest reply in a header, in bytes.
///
/// Limit: bytes of a reply in a header, longer ones are in the body; test:
/// `over_a_directory`.
pub const REPLY_HEADER_LIMIT: usize = 8 * 1024;

/// The longest content that travels within a reply, in bytes.
///
/// Limit: bytes of content within a reply; test: `a_directory_keeps_the_contract`.
pub const INLINE_LIMIT: u64 = 1024;

/// The most entries of one list.
///
/// Limit: entries of one list; test: none, `n` is cut down to it.
pub const LIST_LIMIT: usize = 10_000;

/// The most digests of one [`Operation::MissingBlobs`] or [`Operation::MissingManifests`], and
/// the most blobs of one [`Operation::PushState`].
///
/// Limit: digests of one question for missing content; test: none, more are asked in
/// parts.
pub const DIGESTS_LIMIT: usize = 256;

/// An operation without a body. `Storage` in `roadstead-storage` says what each
/// does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// `Storage::manifest`, or `manifest_stat` without its content.
    Manifest {
        /// The repository.
        repository: RepositoryName,
        /// The tag or digest.
        reference: Reference,
        /// Whether its bytes are wanted.
        content: bool,
    },
    /// `Storage::blob`, or `blob_size` without its content.
    Blob {
        /// The repository.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
        /// The part that is wanted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        range: Option<ByteRange>,
        /// Whether its bytes are wanted.
        content: bool,
    },
    /// `Storage::missing_blobs`, of at most [`DIGESTS_LIMIT`].
    MissingBlobs {
        /// The repository.
        repository: RepositoryName,
        /// The blobs.
        digests: Vec<Digest>,
    },
    /// `Storage::push_state`, with at most [`DIGESTS_LIMIT`] blobs; of more, nothing is said.
    PushState {
        /// What was pushed.
        manifest: PushedManifest,
        /// The blobs that it relies on.
        blobs: Vec<Digest>,
    },
    /// `Storage::missing_manifests`, of at most [`DIGESTS_LIMIT`].
    MissingManifests {
        /// The repository.
        repository: RepositoryName,
        /// The manifests.
        digests: Vec<Digest>,
    },
    /// The repositories that hints beside a blob name: they may hold it.
    Hints {
        /// The blob.
        digest: Digest,
        /// The most repositories.
        limit: usize,
    },
    /// `Storage::read`.
    Read(Key),
    /// `Storage::exists`.
    Exists(Key),
    /// `Storage::link`.
    Link {
        /// The link.
        key: Key,
        /// What it leads to.
        digest: Digest,
        /// The media type of that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media_type: Option<MediaType>,
    },
    /// `Storage::link_tag`.
    LinkTag {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
        /// The manifest that it is to lead to.
        digest: Digest,
    },
    /// `Storage::create_tag`.
    CreateTag {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
        /// The manifest that it is to lead to.
        digest: Digest,
    },
    /// `Storage::remove`; `delete` ignores that there was nothing.
    Remove(Key),
    /// `Storage::unlink`.
    Unlink {
        /// The link.
        key: Key,
        /// What it must lead to.
        digest: Digest,
    },
    /// `Storage::tidy`.
    Tidy(RepositoryName),
    /// `Storage::hash_blob`.
    Hash {
        /// The blob.
        digest: Digest,
        /// How far it is hashed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Partial>,
        /// The most bytes.
        limit: u64,
    },
    /// `Storage::quarantine`.
    Quarantine(Quarantine),
    /// `Storage::names`, at most [`LIST_LIMIT`].
    Names(NamesQuery),
    /// `Storage::enumerate`, at most [`LIST_LIMIT`].
    Enumerate {
        /// The collection.
        collection: Collection,
        /// Where the part begins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Cursor>,
        /// The most entries.
        limit: usize,
    },
    /// `Storage::begin`.
    Begin(UploadSession),
    /// `Storage::status`.
    Status(UploadSession),
    /// `Storage::commit`.
    Commit(Commit),
    /// `Storage::discard`.
    Discard(UploadSession),
}

impl Operation {
    /// Whether content follows this reply to the operation.
    pub fn has_content(&self, reply: &Reply) -> bool {
        match self {
            Self::Manifest { content, .. } | Self::Blob { content, .. } => {
                *content && reply.text().is_none()
            }
            Self::Read(_) => reply.text().is_none(),
            _ => false,
        }
    }
}

/// An operation whose body is the value of an object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Write {
    /// `Storage::write`.
    Object(Key),
    /// `Storage::store_manifest`.
    Manifest(PushedManifest),
}

impl Write {
    /// The object whose value the body is.
    pub fn key(&self) -> Key {
        match self {
            Self::Object(key) => key.clone(),
            Self::Manifest(manifest) => Key::Blob(manifest.digest.clone()),
        }
    }
}

/// An operation that streams a body into an upload session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transfer {
    /// `Storage::append`.
    Append {
        /// The session.
        session: UploadSession,
        /// The byte at which it must end before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<u64>,
        /// How many bytes the body must have.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        length: Option<u64>,
    },
    /// `Storage::append_and_commit`.
    AppendAndCommit(Commit),
}

/// The reply to an operation that succeeded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// There is nothing to say.
    Done,
    /// How many bytes a session, or the blob that it became, has.
    Size(u64),
    /// Of [`Operation::Manifest`].
    Manifest {
        /// The digest that the reference stands for.
        digest: Digest,
        /// The recorded media type.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media_type: Option<MediaType>,
        /// Its size in bytes.
        size: u64,
        /// Its bytes, if they are short.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// Of [`Operation::Blob`].
    Blob {
        /// The size of the whole blob in bytes.
        size: u64,
        /// The part that is sent.
        range: Range<u64>,
        /// Its bytes, if they are short text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// Of [`Operation::Read`].
    Value {
        /// Its size in bytes.
        size: u64,
        /// The value, if it is short text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// Of [`Operation::Hash`].
    Hashed(Hashed),
    /// Of [`Operation::Exists`], and whether [`Operation::Quarantine`] has moved data.
    Exists(bool),
    /// Of [`Operation::CreateTag`].
    Created(Created),
    /// Of [`Operation::MissingBlobs`] and [`Operation::MissingManifests`].
    Missing(Vec<Digest>),
    /// Of [`Operation::PushState`].
    PushState(Option<PushState>),
    /// Of [`Operation::Hints`].
    Repositories(Vec<RepositoryName>),
    /// Of [`Operation::Names`].
    Names(Page),
    /// Of [`Operation::Enumerate`].
    Listing(Listing),
}

impl Reply {
    /// Takes out the content that travels within the reply.
    pub fn take_text(&mut self) -> Option<String> {
        match self {
            Self::Manifest { text, .. } | Self::Blob { text, .. } | Self::Value { text, .. } => {
                text.take()
            }
            _ => None,
        }
    }

    fn text(&self) -> Option<&String> {
        match self {
            Self::Manifest { text, .. } | Self::Blob { text, .. } | Self::Value { text, .. } => {
                text.as_ref()
            }
            _ => None,
        }
    }
}
