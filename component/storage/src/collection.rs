//! Lists: names for clients, and all objects of a kind for maintenance.

use crate::key::{Key, OUTBOX, Place, QUOTAS, QuotaName, RECORDS, ROOT};
use roadstead_oci::{Digest, RepositoryName, Tag};
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// The most bytes of values on one page of names: what a response of the
/// referrers API may have (4 MiB), less room for the index around them.
///
/// Limit: bytes of descriptors on one page of referrers; test: `values_come_with_names_and_end_a_page`.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024 - 64 * 1024;

/// A list of names, as clients see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameList {
    /// Repositories.
    Repositories(Holding),
    /// A repository's tags. Values are the digests that they point to.
    Tags(RepositoryName),
    /// The manifests that refer to `subject`, by [`Key::Referrer`]'s name
    /// `<algorithm>-<hex>`. Values are their descriptors as JSON.
    Referrers {
        /// The repository.
        repository: RepositoryName,
        /// The manifest that is referred to.
        subject: Digest,
    },
}

/// Which repositories a list contains.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holding {
    /// Those that hold manifests: Docker's catalog.
    Manifests,
    /// All, also those with nothing but layers or upload sessions.
    Anything,
}

/// Which page of a [`NameList`] is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NamesQuery {
    /// The list.
    pub list: NameList,
    /// Whether values are asked for too. Repositories have none.
    pub values: bool,
    /// The name after which the page begins; it need not exist.
    pub after: Option<String>,
    /// The most names on the page.
    pub limit: usize,
}

/// A page of names in lexical order. It ends before its values have more than
/// [`PAGE_BYTES`], but has at least one name. A value that is longer than that by
/// itself is given as an empty one.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Page {
    /// The names.
    pub names: Vec<String>,
    /// Their values, in the same order, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Whether there are names after the last.
    pub more: bool,
}

/// All objects of one kind, for maintenance: see [`crate::Storage::enumerate`].
/// Repositories are enumerated by [`NameList::Repositories`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Collection {
    /// [`Key::Blob`], [`Key::Tombstone`] and [`Key::Need`] of the whole storage: those
    /// of one digest follow each other.
    Blobs,
    /// [`Key::Record`] of the whole storage.
    Records,
    /// [`Key::Quota`] of a rule.
    Quota(QuotaName),
    /// [`Key::Events`] of the whole storage.
    Events,
    /// [`Key::Layer`] of a repository.
    Layers(RepositoryName),
    /// [`Key::Revision`] of a repository.
    Revisions(RepositoryName),
    /// [`Key::Tag`] of a repository.
    Tags(RepositoryName),
    /// [`Key::TagHistory`] of a tag.
    TagHistory(RepositoryName, Tag),
    /// [`Key::TagHistory`] of all tags of a repository, and of what once were tags.
    TagHistories(RepositoryName),
    /// [`Key::Referrer`] of a repository.
    Referrers(RepositoryName),
    /// [`Key::Deletion`], [`Key::RepositoryDeletion`] and [`Key::Moves`] of a
    /// repository.
    Deletions(RepositoryName),
    /// [`Key::MovedLayer`] of a repository.
    Moved(RepositoryName),
    /// [`Key::MovedRevision`] of a repository.
    MovedRevisions(RepositoryName),
    /// [`Key::MovedTag`] of a repository.
    MovedTags(RepositoryName),
    /// [`Key::Pulled`] of a repository.
    Pulled(RepositoryName),
    /// [`Key::References`] of a repository.
    References(RepositoryName),
    /// [`Key::Session`] of a repository, with the bytes of all its objects and
    /// the time at which the last of them was written.
    Sessions(RepositoryName),
}

impl Collection {
    /// What the keys of all its objects begin with, with a closing slash.
    pub fn prefix(&self) -> String {
        let repositories = format!("{ROOT}/repositories");
        match self {
            Self::Blobs => format!("{ROOT}/blobs/"),
            Self::Records => RECORDS.to_owned(),
            Self::Quota(name) => format!("{QUOTAS}{name}/"),
            Self::Events => OUTBOX.to_owned(),
            Self::Layers(name) => format!("{repositories}/{name}/_layers/"),
            Self::Revisions(name) => format!("{repositories}/{name}/_manifests/revisions/"),
            Self::Tags(name) | Self::TagHistories(name) => {
                format!("{repositories}/{name}/_manifests/tags/")
            }
            Self::TagHistory(name, tag) => {
                format!("{repositories}/{name}/_manifests/tags/{tag}/index/")
            }
            Self::Referrers(name) => format!("{repositories}/{name}/_referrers/"),
            Self::Deletions(name) => format!("{repositories}/{name}/_deletions/"),
            Self::Moved(name) => format!("{repositories}/{name}/_condemned/layers/"),
            Self::MovedRevisions(name) => format!("{repositories}/{name}/_condemned/revisions/"),
            Self::MovedTags(name) => format!("{repositories}/{name}/_condemned/tags/"),
            Self::Pulled(name) => format!("{repositories}/{name}/_pulled/"),
            Self::References(name) => format!("{repositories}/{name}/_references/"),
            Self::Sessions(name) => format!("{repositories}/{name}/_uploads/"),
        }
    }

    /// The entry that an object with this key counts for, if it is of the
    /// collection: itself, or its upload session.
    pub fn entry_of(&self, key: Key) -> Option<Key> {
        match (self, key) {
            (Self::Sessions(_), Key::SessionObject(session, _)) => Some(Key::Session(session)),
            (Self::Blobs, key @ (Key::Blob(_) | Key::Tombstone(_) | Key::Need(_)))
            | (Self::Records, key @ Key::Record(_))
            | (Self::Quota(_), key @ Key::Quota(..))
            | (Self::Events, key @ Key::Events(_))
            | (Self::Layers(_), key @ Key::Layer(..))
            | (Self::Revisions(_), key @ Key::Revision(..))
            | (Self::Tags(_), key @ Key::Tag(..))
            | (Self::TagHistory(..) | Self::TagHistories(_), key @ Key::TagHistory(..))
            | (Self::Referrers(_), key @ Key::Referrer { .. })
            | (
                Self::Deletions(_),
                key @ (Key::Deletion { .. } | Key::RepositoryDeletion { .. } | Key::Moves { .. }),
            )
            | (Self::Moved(_), key @ Key::MovedLayer(..))
            | (Self::MovedRevisions(_), key @ Key::MovedRevision(..))
            | (Self::MovedTags(_), key @ Key::MovedTag(..))
            | (Self::Pulled(_), key @ Key::Pulled(..))
            | (Self::References(_), key @ Key::References(..)) => Some(key),
            _ => None,
        }
    }
}

impl NameList {
    /// The directory whose children, or for repositories descendants, the names
    /// are; without a closing slash.
    pub fn directory(&self) -> String {
        let repositories = format!("{ROOT}/repositories");
        match self {
            Self::Repositories(_) => repositories,
            Self::Tags(name) => format!("{repositories}/{name}/_manifests/tags"),
            Self::Referrers { repository, subject } => {
                format!("{repositories}/{repository}/_referrers/{}", Place(subject))
            }
        }
    }

    /// The path, below a name's directory, of the object that makes it a name of
    /// the list and holds its value. Repositories have none.
    pub fn value_path(&self) -> Option<&'static str> {
        match self {
            Self::Repositories(_) => None,
            Self::Tags(_) => Some("current/link"),
            Self::Referrers { .. } => Some("descriptor"),
        }
    }
}

impl Holding {
    /// The directories of which a repository of the list has one at least.
    pub fn shown_by(self) -> &'static [&'static str] {
        match self {
            Self::Manifests => &["_manifests"],
            Self::Anything => &["_manifests", "_layers", "_uploads", "_referrers", "_condemned"],
        }
    }
}

/// An object of a [`Collection`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// What it is.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written, by the storage's clock.
    pub modified: SystemTime,
}

/// A part of a [`Collection`], in the order of keys.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Listing {
    /// The objects. There may be none although the collection goes on: what one
    /// call reads is bounded, and not all that it reads is of the collection.
    pub entries: Vec<Entry>,
    /// Where the collection goes on, unless this is its end.
    pub next: Option<Cursor>,
}

/// A place in a collection, which stays valid however the collection changes,
/// and can be stored to resume later: the key, relative to
/// [`Collection::prefix`], after which it goes on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Cursor(pub String);
