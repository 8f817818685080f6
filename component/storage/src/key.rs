//! Keys: every object the registry stores, by what it is, and its place in
//! distribution's layout.
//!
//! ```text
//! docker/registry/v2/
//!   blobs/<algorithm>/<first two digits>/<hex>/
//!     _condemned                                   Tombstone (ours)
//!     data                                         Blob
//!     _hint-<name>                                 Hint (ours)
//!     _hint-<beginning>/_hint-<rest>               Hint of a long name
//!     _needed                                      Need (ours)
//!     _quarantined                                 Quarantined (ours)
//!   repositories/<name>/
//!     _condemned/layers/<algorithm>/<hex>/link     MovedLayer (ours)
//!     _condemned/revisions/<algorithm>/<hex>/link  MovedRevision (ours)
//!     _condemned/tags/<tag>/link                   MovedTag (ours)
//!     _layers/<algorithm>/<hex>/link               Layer
//!     _manifests/
//!       revisions/<algorithm>/<hex>/link           Revision
//!       revisions/<algorithm>/<hex>/media-type     MediaType (ours)
//!       tags/<tag>/current/link                    Tag
//!       tags/<tag>/index/<algorithm>/<hex>/link    TagHistory
//!     _referrers/<algorithm>/<subject's hex>/
//!       <algorithm>-<hex>/descriptor               Referrer (ours)
//!     _referrers/complete                          ReferrersComplete (ours)
//!     _deletions/<algorithm>-<hex>/<id>/tags       Deletion (ours)
//!     _deletions/repository/<id>/tags              RepositoryDeletion (ours)
//!     _deletions/collection/<id>/links             Moves (ours)
//!     _pulled/<tag>                                Pulled (ours)
//!     _references/<algorithm>/<hex>/digests        References (ours)
//!     _uploads/<id>/                               Session
//!       <file>                                     SessionObject
//! .roadstead/collect/<record>                      Record (ours)
//! .roadstead/outbox/<kind>-<time>-<id>             Events (ours)
//! .roadstead/quotas/<rule>/<record>                Quota (ours)
//! ```
//!
//! A `link` holds a digest as text. Distribution ignores files that it does not
//! know, and storage without ours works: the media type is then read from the
//! manifest, referrers are gathered when they are first asked for, and without
//! hints a mount that names no repository may not find the blob.

mod event;
mod quota;
mod record;

pub(crate) use event::DIRECTORY as OUTBOX;
pub use event::EventName;
pub(crate) use quota::DIRECTORY as QUOTAS;
pub use quota::{QuotaName, QuotaRecord};
pub(crate) use record::DIRECTORY as RECORDS;
pub use record::{Record, Shard};

use crate::session::{SessionFile, UploadSession};
use roadstead_oci::{Digest, Manifest, MediaType, RepositoryName, Tag};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What every key begins with, except records of garbage collection and of quotas, and events.
pub const ROOT: &str = "docker/registry/v2";

/// An object of the registry, by what it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Key {
    /// Content by its digest: a layer, a configuration or a manifest.
    Blob(Digest),
    /// That a repository may hold a blob: an empty object, which helps a mount
    /// that names no repository. Never trusted by itself.
    Hint(Digest, RepositoryName),
    /// That a blob is condemned: it is to be removed unless somebody needs it.
    /// `docs/collection.md` has the protocol; [`Key::Need`], [`Key::MovedLayer`],
    /// [`Key::MovedRevision`] and [`Key::Moves`] belong to it.
    Tombstone(Digest),
    /// That somebody has needed a blob since it was condemned: an empty object.
    Need(Digest),
    /// Data that does not have its digest, out of the way of those who need the blob.
    /// It is no content of the registry any more, and only people delete it.
    Quarantined(Digest),
    /// The repository held the blob until it was condemned, and holds it again when
    /// it is needed.
    MovedLayer(RepositoryName, Digest),
    /// The repository held the manifest until a collector took it away, as nothing led
    /// to it, and holds it again when it is needed: a [`crate::MovedRevision`].
    MovedRevision(RepositoryName, Digest),
    /// The repository had the tag until a collector removed it, as it had expired: a
    /// [`crate::MovedTag`].
    MovedTag(RepositoryName, Tag),
    /// That a tag was pulled, by its time. Written once a day at most.
    Pulled(RepositoryName, Tag),
    /// The repository holds the blob.
    Layer(RepositoryName, Digest),
    /// The repository holds the manifest.
    Revision(RepositoryName, Digest),
    /// The media type that a manifest was pushed with.
    MediaType(RepositoryName, Digest),
    /// The digest that a tag points to.
    Tag(RepositoryName, Tag),
    /// That a tag has pointed to this digest, at last when this was written. Distribution keeps it
    /// too.
    TagHistory(RepositoryName, Tag, Digest),
    /// The descriptor of the manifest `digest`, which refers to `subject`.
    Referrer {
        /// The repository of both.
        repository: RepositoryName,
        /// The manifest that is referred to; it need not exist.
        subject: Digest,
        /// The manifest that refers to it.
        digest: Digest,
    },
    /// That no referrer of an older manifest is missing.
    ReferrersComplete(RepositoryName),
    /// That a manifest is being deleted by its digest: the tags that are about
    /// to be deleted with it, one in each line. It tells pushes to wait.
    Deletion {
        /// The repository.
        repository: RepositoryName,
        /// The manifest.
        digest: Digest,
        /// Sets it apart from other deletions of the same manifest.
        id: u128,
    },
    /// That the whole repository is being deleted. While it has a value, it tells
    /// pushes to wait; while it is empty, only other deletions of the repository.
    RepositoryDeletion {
        /// The repository.
        repository: RepositoryName,
        /// Sets it apart from other deletions of the same repository.
        id: u128,
    },
    /// That a collector moves links of the repository to blobs or manifests: their
    /// digests, one in each line, and none when it has done so. It tells pushes to wait.
    Moves {
        /// The repository.
        repository: RepositoryName,
        /// Sets it apart from those of other collectors.
        id: u128,
    },
    /// What the manifests of the repository from this digest on refer to: a cache,
    /// as manifests never change.
    References(RepositoryName, Digest),
    /// What garbage collection remembers.
    Record(Record),
    /// What is remembered of a rule of quotas.
    Quota(QuotaName, QuotaRecord),
    /// What a request has done, until a native host sends it on.
    Events(EventName),
    /// An upload session: all objects below it.
    Session(UploadSession),
    /// An object of an upload session.
    SessionObject(UploadSession, SessionFile),
}

impl Key {
    /// The longest value of a link, in bytes: a SHA-512 digest and a line break
    /// that another writer may have added.
    ///
    /// Limit: bytes of a link; test: `a_directory_keeps_the_contract`.
    pub const LINK_LIMIT: usize = 256;

    /// Whether an acknowledged write of it survives a loss of power. Hints can
    /// be missing without harm, a deletion does not survive, and clients start a
    /// lost upload session over.
    pub fn is_durable(&self) -> bool {
        match self {
            Self::Hint(..)
            | Self::Pulled(..)
            | Self::Deletion { .. }
            | Self::RepositoryDeletion { .. }
            | Self::Moves { .. }
            | Self::Session(_)
            | Self::SessionObject(..) => false,
            Self::Record(record) => record.is_durable(),
            Self::Quota(_, record) => record.is_durable(),
            Self::Blob(_)
            | Self::Tombstone(_)
            | Self::Need(_)
            | Self::Quarantined(_)
            | Self::MovedLayer(..)
            | Self::MovedRevision(..)
            | Self::MovedTag(..)
            | Self::References(..)
            | Self::Layer(..)
            | Self::Revision(..)
            | Self::MediaType(..)
            | Self::Tag(..)
            | Self::TagHistory(..)
            | Self::Referrer { .. }
            | Self::ReferrersComplete(_)
            | Self::Events(_) => true,
        }
    }

    /// The object that a directory keeps beside this one, and that says nothing
    /// without it: written and removed with it. An object store has metadata
    /// instead.
    pub fn companion(&self) -> Option<Self> {
        match self {
            Self::Layer(name, digest) => Some(Self::Hint(digest.clone(), name.clone())),
            Self::Revision(name, digest) => Some(Self::MediaType(name.clone(), digest.clone())),
            _ => None,
        }
    }

    /// The largest value that is read or written whole, in bytes. Larger blobs
    /// are written by upload sessions and read as streams.
    pub fn value_limit(&self) -> usize {
        match self {
            Self::Layer(..)
            | Self::MovedLayer(..)
            | Self::Revision(..)
            | Self::Tag(..)
            | Self::TagHistory(..) => Self::LINK_LIMIT,
            Self::Tombstone(_) | Self::Need(_) => TOMBSTONE_LIMIT,
            Self::MovedRevision(..) => MOVED_REVISION_LIMIT,
            Self::MovedTag(..) => MOVED_TAG_LIMIT,
            Self::Pulled(..) => PULLED_LIMIT,
            Self::References(..) => REFERENCES_LIMIT,
            Self::Record(record) => record.value_limit(),
            Self::Quota(_, record) => record.value_limit(),
            Self::Events(_) => event::VALUE_LIMIT,
            Self::MediaType(..) => MediaType::MAX_LENGTH + 1,
            // A descriptor repeats the annotations of its manifest.
            Self::Referrer { .. } => 2 * Manifest::MAX_SIZE,
            Self::Blob(_) | Self::Quarantined(_) => Manifest::MAX_SIZE,
            Self::Deletion { .. } | Self::RepositoryDeletion { .. } => DELETION_LIMIT,
            Self::Moves { .. } => MOVES_LIMIT,
            Self::Hint(..) | Self::ReferrersComplete(_) | Self::Session(_) => 0,
            Self::SessionObject(..) => SESSION_OBJECT_LIMIT,
        }
    }

    /// Parses a key from its place in the layout.
    ///
    /// # Errors
    /// [`InvalidKey`] when nothing of the registry has this place.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        if let Some(record) = text.strip_prefix(record::DIRECTORY) {
            return Record::parse(record).map(Self::Record).ok_or(InvalidKey);
        }
        if let Some(record) = text.strip_prefix(quota::DIRECTORY) {
            let parsed = QuotaRecord::parse(record);
            return parsed.map(|(name, record)| Self::Quota(name, record)).ok_or(InvalidKey);
        }
        if let Some(name) = text.strip_prefix(event::DIRECTORY) {
            return EventName::parse(name).map(Self::Events).ok_or(InvalidKey);
        }
        let rest = text.strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('/'));
        let rest = rest.ok_or(InvalidKey)?;
        let key = match rest.split_once('/') {
            Some(("blobs", rest)) => parse_blob(rest),
            Some(("repositories", rest)) => parse_in_repository(rest),
            _ => None,
        };
        key.ok_or(InvalidKey)
    }
}

/// The largest object of an upload session that is read or written whole, in
/// bytes: an object store's record, with the bytes that fill no part yet.
///
/// Limit: bytes of an upload's record in a bucket; test: none, parts are smaller.
const SESSION_OBJECT_LIMIT: usize = 64 * 1024 * 1024;

/// The largest announcement of a deletion, in bytes: the longest names of the
/// tags that are deleted in one step.
///
/// Limit: the value of `Key::Deletion`; test: `tags_of_many_pages_are_deleted`.
const DELETION_LIMIT: usize = 4 * 1024;

/// The largest tombstone, in bytes: a state and who wrote it, and what later versions
/// may add.
///
/// Limit: bytes of a tombstone or a need; test: none, ours are shorter.
const TOMBSTONE_LIMIT: usize = 256;

/// The largest moved link of a manifest, in bytes: a digest, a run and a media type.
///
/// Limit: bytes of the moved link of a manifest; test: `moved_revisions_are_parsed_as_they_are_printed`.
const MOVED_REVISION_LIMIT: usize = 512;

/// The largest record of a removed tag, in bytes: a digest and a run.
///
/// Limit: bytes of what a collector keeps of a removed tag; test: `moved_tags_are_parsed_as_they_are_printed`.
const MOVED_TAG_LIMIT: usize = 256;

/// The largest record of a pull, in bytes: a number of seconds.
///
/// Limit: bytes of the record of a pull; test: none, ours are shorter.
const PULLED_LIMIT: usize = 32;

/// The largest announcement of moves, in bytes: 64 digests of SHA-512, or 64 tags.
///
/// Limit: bytes of an announcement of moved links; test: `links_move_in_batches`.
const MOVES_LIMIT: usize = 64 * 160;

/// The largest list of references, in bytes.
///
/// Limit: bytes of a list of references; test: `references_are_split`.
const REFERENCES_LIMIT: usize = 16 * 1024 * 1024;

/// `<algorithm>/<shard>/<hex>/<file>`.
fn parse_blob(text: &str) -> Option<Key> {
    let mut parts = text.split('/');
    let (algorithm, shard) = (parts.next()?, parts.next()?);
    let digest = digest(algorithm, parts.next()?)?;
    let (file, rest, None) = (parts.next()?, parts.next(), parts.next()) else { return None };
    if shard != shard_of(&digest) {
        return None;
    }
    match (file, rest) {
        ("data", None) => Some(Key::Blob(digest)),
        ("_condemned", None) => Some(Key::Tombstone(digest)),
        ("_needed", None) => Some(Key::Need(digest)),
        ("_quarantined", None) => Some(Key::Quarantined(digest)),
        _ => Some(Key::Hint(digest, parse_hint(file, rest)?)),
    }
}

/// `<name>/_<directory>/...`: no part of a repository's name begins with `_`.
fn parse_in_repository(text: &str) -> Option<Key> {
    let at = text.find("/_")?;
    let name = RepositoryName::parse(text.get(..at)?).ok()?;
    let parts: Vec<&str> = text.get(at + 1..)?.split('/').collect();
    match *parts.as_slice() {
        ["_layers", algorithm, hex, "link"] => Some(Key::Layer(name, digest(algorithm, hex)?)),
        ["_manifests", "revisions", algorithm, hex, "link"] => {
            Some(Key::Revision(name, digest(algorithm, hex)?))
        }
        ["_manifests", "revisions", algorithm, hex, "media-type"] => {
            Some(Key::MediaType(name, digest(algorithm, hex)?))
        }
        ["_manifests", "tags", tag, "current", "link"] => {
            Some(Key::Tag(name, Tag::parse(tag).ok()?))
        }
        ["_manifests", "tags", tag, "index", algorithm, hex, "link"] => {
            Some(Key::TagHistory(name, Tag::parse(tag).ok()?, digest(algorithm, hex)?))
        }
        ["_referrers", "complete"] => Some(Key::ReferrersComplete(name)),
        ["_referrers", algorithm, hex, referrer, "descriptor"] => {
            let subject = digest(algorithm, hex)?;
            let (algorithm, hex) = referrer.split_once('-')?;
            Some(Key::Referrer { repository: name, subject, digest: digest(algorithm, hex)? })
        }
        ["_deletions", WHOLE, id, "tags"] => {
            Some(Key::RepositoryDeletion { repository: name, id: number(id)? })
        }
        ["_condemned", "layers", algorithm, hex, "link"] => {
            Some(Key::MovedLayer(name, digest(algorithm, hex)?))
        }
        ["_condemned", "revisions", algorithm, hex, "link"] => {
            Some(Key::MovedRevision(name, digest(algorithm, hex)?))
        }
        ["_condemned", "tags", tag, "link"] => Some(Key::MovedTag(name, Tag::parse(tag).ok()?)),
        ["_pulled", tag] => Some(Key::Pulled(name, Tag::parse(tag).ok()?)),
        ["_references", algorithm, hex, "digests"] => {
            Some(Key::References(name, digest(algorithm, hex)?))
        }
        ["_deletions", "collection", id, "links"] => {
            Some(Key::Moves { repository: name, id: number(id)? })
        }
        ["_deletions", manifest, id, "tags"] => {
            let (algorithm, hex) = manifest.split_once('-')?;
            Some(Key::Deletion {
                repository: name,
                digest: digest(algorithm, hex)?,
                id: number(id)?,
            })
        }
        ["_uploads", id] => Some(Key::Session(UploadSession::parse(name, id).ok()?)),
        ["_uploads", id, ref file @ ..] => {
            let file = SessionFile::parse(&file.join("/"))?;
            Some(Key::SessionObject(UploadSession::parse(name, id).ok()?, file))
        }
        _ => None,
    }
}

fn digest(algorithm: &str, hex: &str) -> Option<Digest> {
    Digest::parse(&format!("{algorithm}:{hex}")).ok()
}

/// A number of 32 hexadecimal digits, in lower case.
fn number(digits: &str) -> Option<u128> {
    let number = u128::from_str_radix(digits, 16).ok()?;
    (format!("{number:032x}") == digits).then_some(number)
}

/// The directory of the deletions of a whole repository, among those of manifests.
const WHOLE: &str = "repository";

/// What the path segments of a hint begin with.
const HINT: &str = "_hint-";

/// How many bytes of a repository's name are in one segment of its hint, so that
/// the segment has at most 255: file systems allow no more.
///
/// Limit: bytes of a repository's name in one file name of a hint, a longer name
/// takes two; test: `hints_of_the_longest_names`.
const HINT_LENGTH: usize = 249;

/// The path segments of a hint: the repository's name with `=`, which no name
/// contains, for `/`.
struct HintPath<'a>(&'a RepositoryName);

impl fmt::Display for HintPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.as_str().replace('/', "=");
        // A name is ASCII, so that any byte is a boundary.
        match name.split_at_checked(HINT_LENGTH) {
            Some((beginning, rest)) if !rest.is_empty() => {
                write!(f, "{HINT}{beginning}/{HINT}{rest}")
            }
            _ => write!(f, "{HINT}{name}"),
        }
    }
}

/// The opposite of [`HintPath`].
fn parse_hint(first: &str, second: Option<&str>) -> Option<RepositoryName> {
    let beginning = first.strip_prefix(HINT)?;
    let name = match second {
        None if beginning.len() <= HINT_LENGTH => beginning.to_owned(),
        Some(second) if beginning.len() == HINT_LENGTH => {
            let rest = second.strip_prefix(HINT).filter(|rest| !rest.is_empty())?;
            format!("{beginning}{rest}")
        }
        _ => return None,
    };
    RepositoryName::parse(&name.replace('=', "/")).ok()
}

/// The directory below the algorithm's that a blob is in.
fn shard_of(digest: &Digest) -> &str {
    // A digest has at least two digits.
    digest.encoded().get(..2).unwrap_or_default()
}

/// `<algorithm>/<hex>`.
pub(crate) struct Place<'a>(pub(crate) &'a Digest);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.algorithm().as_str(), self.0.encoded())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(digest) => write!(f, "{}/data", BlobDirectory(digest)),
            Self::Hint(digest, name) => {
                write!(f, "{}/{}", BlobDirectory(digest), HintPath(name))
            }
            Self::Tombstone(digest) => write!(f, "{}/_condemned", BlobDirectory(digest)),
            Self::Need(digest) => write!(f, "{}/_needed", BlobDirectory(digest)),
            Self::Quarantined(digest) => write!(f, "{}/_quarantined", BlobDirectory(digest)),
            Self::MovedLayer(name, digest) => {
                let place = Place(digest);
                write!(f, "{ROOT}/repositories/{name}/_condemned/layers/{place}/link")
            }
            Self::MovedRevision(name, digest) => {
                let place = Place(digest);
                write!(f, "{ROOT}/repositories/{name}/_condemned/revisions/{place}/link")
            }
            Self::MovedTag(name, tag) => {
                write!(f, "{ROOT}/repositories/{name}/_condemned/tags/{tag}/link")
            }
            Self::Pulled(name, tag) => write!(f, "{ROOT}/repositories/{name}/_pulled/{tag}"),
            Self::Layer(name, digest) => {
                write!(f, "{ROOT}/repositories/{name}/_layers/{}/link", Place(digest))
            }
            Self::Revision(name, digest) => {
                write!(f, "{ROOT}/repositories/{name}/_manifests/revisions/{}/link", Place(digest))
            }
            Self::MediaType(name, digest) => {
                let place = Place(digest);
                write!(f, "{ROOT}/repositories/{name}/_manifests/revisions/{place}/media-type")
            }
            Self::Tag(name, tag) => {
                write!(f, "{ROOT}/repositories/{name}/_manifests/tags/{tag}/current/link")
            }
            Self::TagHistory(name, tag, digest) => {
                let place = Place(digest);
                write!(f, "{ROOT}/repositories/{name}/_manifests/tags/{tag}/index/{place}/link")
            }
            Self::Referrer { repository, subject, digest } => {
                let (subject, algorithm) = (Place(subject), digest.algorithm().as_str());
                let hex = digest.encoded();
                write!(f, "{ROOT}/repositories/{repository}/_referrers/{subject}/")?;
                write!(f, "{algorithm}-{hex}/descriptor")
            }
            Self::ReferrersComplete(name) => {
                write!(f, "{ROOT}/repositories/{name}/_referrers/complete")
            }
            Self::Deletion { repository, digest, id } => {
                let (algorithm, hex) = (digest.algorithm().as_str(), digest.encoded());
                write!(
                    f,
                    "{ROOT}/repositories/{repository}/_deletions/{algorithm}-{hex}/{id:032x}/tags"
                )
            }
            Self::RepositoryDeletion { repository, id } => {
                write!(f, "{ROOT}/repositories/{repository}/_deletions/{WHOLE}/{id:032x}/tags")
            }
            Self::Moves { repository, id } => {
                write!(f, "{ROOT}/repositories/{repository}/_deletions/collection/{id:032x}/links")
            }
            Self::References(name, digest) => {
                write!(f, "{ROOT}/repositories/{name}/_references/{}/digests", Place(digest))
            }
            Self::Record(record) => write!(f, "{}{record}", record::DIRECTORY),
            Self::Quota(name, record) => write!(f, "{}{name}/{record}", quota::DIRECTORY),
            Self::Events(name) => write!(f, "{}{name}", event::DIRECTORY),
            Self::Session(session) => write!(f, "{ROOT}/repositories/{session}"),
            Self::SessionObject(session, file) => {
                write!(f, "{ROOT}/repositories/{session}/{}", file.as_str())
            }
        }
    }
}

/// The directory of a blob and its hints.
pub(crate) struct BlobDirectory<'a>(pub(crate) &'a Digest);

impl fmt::Display for BlobDirectory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (algorithm, hex) = (self.0.algorithm().as_str(), self.0.encoded());
        write!(f, "{ROOT}/blobs/{algorithm}/{}/{hex}", shard_of(self.0))
    }
}

impl Key {
    /// The repository that a file in a blob's directory names, if it is a hint.
    /// The hint of a long name is the file `rest` in the directory `first`.
    pub fn hinted(first: &str, rest: Option<&str>) -> Option<RepositoryName> {
        parse_hint(first, rest)
    }

    /// The directory that holds a blob and its hints.
    pub fn blob_directory(digest: &Digest) -> String {
        BlobDirectory(digest).to_string()
    }
}

impl TryFrom<String> for Key {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, InvalidKey> {
        Self::parse(&text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.to_string()
    }
}

/// The text is the place of nothing that the registry stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidKey;

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no object of a registry has this key; keys begin with {ROOT}/")
    }
}

impl std::error::Error for InvalidKey {}

#[cfg(test)]
mod tests;
