//! A push of a manifest: what it writes, and what it looks at afterwards.

use roadstead_oci::{Digest, MediaType, RepositoryName, Tag};
use serde::{Deserialize, Serialize};

/// A manifest of a repository and what leads to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PushedManifest {
    /// The repository.
    pub repository: RepositoryName,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The media type that it was pushed with.
    pub media_type: MediaType,
    /// The tags that are to point to it.
    pub tags: Vec<Tag>,
}

/// What is there of a push.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PushState {
    /// Whether the repository's link to the manifest is there, with its media type, and each of
    /// the tags, which may point to another manifest by now.
    pub held: bool,
    /// Which of the blobs the repository does not hold, in their order.
    pub missing: Vec<Digest>,
}
