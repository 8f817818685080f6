//! What a request has changed or read, for notifications.

use serde::{Deserialize, Serialize};

/// The longest list of references in a [`Change`], in bytes of their JSON. It is a part of a
/// header, whose length wasmtime limits. A list that is longer is left out.
///
/// Limit: bytes of the references of a manifest in a notification; test: `references_are_bounded`.
pub const REFERENCES_LIMIT: usize = 48 * 1024;

/// What a request has done, named as in distribution's notifications.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// A manifest or a blob was stored.
    Push,
    /// A blob of another repository was mounted.
    Mount,
    /// A tag, a manifest, a blob or a repository was deleted.
    Delete,
    /// A manifest or a blob was read. Not told to a native host, which sees it by itself.
    Pull,
}

/// What a request that was carried out has changed. What is not known without another operation
/// of the storage is absent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Change {
    /// What was done.
    pub kind: ChangeKind,
    /// The repository.
    pub repository: String,
    /// The manifest or blob; absent for a deletion of a tag or of a repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The media type of the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Its size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The tags that were set, or the one that was deleted or read by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The repository that a blob was mounted from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What a manifest that was pushed refers to; none if the list is longer than
    /// [`REFERENCES_LIMIT`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<ChangeReference>,
}

/// What a manifest refers to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeReference {
    /// The media type.
    pub media_type: String,
    /// The size in bytes.
    pub size: u64,
    /// The digest.
    pub digest: String,
}
