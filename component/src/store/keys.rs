//! Where everything is: distribution's layout, byte for byte.
//!
//! ```text
//! docker/registry/v2/
//!   blobs/<algorithm>/<first two digits>/<digest>/
//!     data
//!     _hint-<name>                                 ours: a repository that may hold the blob
//!   repositories/<name>/
//!     _layers/<algorithm>/<digest>/link            the repository holds the blob
//!     _manifests/
//!       revisions/<algorithm>/<digest>/link        the repository holds the manifest
//!       revisions/<algorithm>/<digest>/media-type  ours: the media type it was pushed with
//!       tags/<tag>/current/link                    the tag's digest
//!       tags/<tag>/index/<algorithm>/<digest>/link every digest that the tag has had
//!     _referrers/<algorithm>/<subject's digest>/
//!       <digest>/descriptor                        ours: a manifest that refers to the subject
//!     _referrers/complete                          ours: no older manifest's is missing
//!     _uploads/<id>/                               an upload session
//! ```
//!
//! A `link` holds a digest as text. Distribution leaves files it does not know
//! alone, so ours do not disturb it, and a registry's directory without them
//! works: the media type is then read from the manifest, referrers are
//! gathered when they are asked for first, and hints only help to find a blob
//! for a mount that names no repository.

use object_store::path::Path;
use roadstead_oci::{Algorithm, Digest, RepositoryName, Tag, UploadId};

const ROOT: &str = "docker/registry/v2";

/// The segment that a directory of a repository's manifests has.
pub(super) const MANIFESTS: &str = "_manifests";

/// What a tag's directory contains if the tag exists.
pub(super) const TAG_MARKER: &str = "current/link";

pub(super) fn blob(digest: &Digest) -> Path {
    path(format!("{}/data", blob_directory(digest)))
}

pub(super) fn repositories() -> Path {
    path(format!("{ROOT}/repositories"))
}

pub(super) fn layer_link(name: &RepositoryName, digest: &Digest) -> Path {
    of_digest(name, "_layers", digest, "link")
}

pub(super) fn layers(name: &RepositoryName) -> Path {
    path(format!("{ROOT}/repositories/{name}/_layers"))
}

/// The name of the repository that a session is one of.
pub(super) fn repository_of(session: &Path) -> Option<String> {
    let (repository, _) = session.as_ref().rsplit_once("/_uploads/")?;
    let name = repository.strip_prefix(ROOT)?.strip_prefix("/repositories/")?;
    Some(name.to_owned())
}

/// The link to a blob in the repository that a session is one of.
pub(super) fn layer_link_of(session: &Path, digest: &Digest) -> Option<Path> {
    let (repository, _) = session.as_ref().rsplit_once("/_uploads/")?;
    let (algorithm, hex) = (digest.algorithm().as_str(), digest.encoded());
    Some(path(format!("{repository}/_layers/{algorithm}/{hex}/{LINK}")))
}

/// All blobs of one algorithm that the repository holds.
pub(super) fn layers_of(name: &RepositoryName, algorithm: Algorithm) -> Path {
    path(format!("{ROOT}/repositories/{name}/_layers/{}", algorithm.as_str()))
}

/// What the directory of a blob that the repository holds contains.
pub(super) const LINK: &str = "link";

pub(super) fn revisions(name: &RepositoryName) -> Path {
    path(format!("{ROOT}/repositories/{name}/{MANIFESTS}/revisions"))
}

pub(super) fn revision_link(name: &RepositoryName, digest: &Digest) -> Path {
    of_digest(name, "_manifests/revisions", digest, "link")
}

pub(super) fn media_type(name: &RepositoryName, digest: &Digest) -> Path {
    of_digest(name, "_manifests/revisions", digest, "media-type")
}

pub(super) fn tags(name: &RepositoryName) -> Path {
    path(format!("{ROOT}/repositories/{name}/{MANIFESTS}/tags"))
}

pub(super) fn tag_link(name: &RepositoryName, tag: &Tag) -> Path {
    path(format!("{ROOT}/repositories/{name}/{MANIFESTS}/tags/{tag}/{TAG_MARKER}"))
}

pub(super) fn tag_index(name: &RepositoryName, tag: &Tag) -> Path {
    path(format!("{ROOT}/repositories/{name}/{MANIFESTS}/tags/{tag}/index"))
}

pub(super) fn tag_index_link(name: &RepositoryName, tag: &Tag, digest: &Digest) -> Path {
    of_digest(name, &format!("{MANIFESTS}/tags/{tag}/index"), digest, "link")
}

/// All manifests that refer to a subject.
pub(super) fn referrers(name: &RepositoryName, subject: &Digest) -> Path {
    let (algorithm, hex) = (subject.algorithm().as_str(), subject.encoded());
    path(format!("{ROOT}/repositories/{name}/_referrers/{algorithm}/{hex}"))
}

/// What the directory of a referrer contains.
pub(super) const REFERRER_MARKER: &str = "descriptor";

/// The directory of a referrer is called by the digest, with a separator that
/// a file system on any machine takes.
pub(super) fn referrer(name: &RepositoryName, subject: &Digest, digest: &Digest) -> Path {
    let (algorithm, hex) = (digest.algorithm().as_str(), digest.encoded());
    let directory = format!("{algorithm}-{hex}");
    path(format!("{}/{directory}/{REFERRER_MARKER}", referrers(name, subject)))
}

/// Says that the referrers are complete.
pub(super) fn referrers_complete(name: &RepositoryName) -> Path {
    path(format!("{ROOT}/repositories/{name}/_referrers/complete"))
}

/// All revisions of one algorithm.
pub(super) fn revisions_of(name: &RepositoryName, algorithm: Algorithm) -> Path {
    path(format!("{ROOT}/repositories/{name}/{MANIFESTS}/revisions/{}", algorithm.as_str()))
}

/// What a blob and its hints have in common.
pub(super) fn blob_directory(digest: &Digest) -> Path {
    let (algorithm, hex) = (digest.algorithm().as_str(), digest.encoded());
    // The digest's type holds at least two digits.
    let shard = hex.get(..2).unwrap_or(hex);
    path(format!("{ROOT}/blobs/{algorithm}/{shard}/{hex}"))
}

/// What the last segment of a hint begins with.
const HINT: &str = "_hint-";

/// That a repository may hold a blob: an empty object, all in its key.
pub(super) fn hint(digest: &Digest, name: &RepositoryName) -> Path {
    path(format!("{}/{HINT}{}", blob_directory(digest), escape_name(name)))
}

/// The repository that a key beside a blob says may hold it.
pub(super) fn hinted(key: &Path) -> Option<RepositoryName> {
    unescape_name(key.filename()?.strip_prefix(HINT)?)
}

/// A repository name as one segment: `=` is in no name.
fn escape_name(name: &RepositoryName) -> String {
    name.as_str().replace('/', "=")
}

/// The opposite of [`escape_name`].
fn unescape_name(segment: &str) -> Option<RepositoryName> {
    RepositoryName::parse(&segment.replace('=', "/")).ok()
}

/// All upload sessions.
pub(super) fn uploads(name: &RepositoryName) -> Path {
    path(format!("{ROOT}/repositories/{name}/_uploads"))
}

pub(super) fn upload(name: &RepositoryName, id: &UploadId) -> Path {
    path(format!("{}/{id}", uploads(name)))
}

/// A constant, as a path.
pub(super) fn marker(constant: &'static str) -> Path {
    path(constant.to_owned())
}

fn of_digest(name: &RepositoryName, directory: &str, digest: &Digest, file: &str) -> Path {
    let (algorithm, hex) = (digest.algorithm().as_str(), digest.encoded());
    path(format!("{ROOT}/repositories/{name}/{directory}/{algorithm}/{hex}/{file}"))
}

/// Names, tags, digests and ids consist of characters that a path holds as
/// they are, so nothing is escaped, which the tests below show.
fn path(key: String) -> Path {
    Path::from(key)
}

#[cfg(test)]
mod tests {
    use roadstead_oci::{Digest, RepositoryName, Tag, UploadId};

    #[test]
    fn distributions_layout() {
        let name = RepositoryName::parse("a/b-c__d.e").unwrap();
        let hex = "0123456789abcdef".repeat(4);
        let digest = Digest::parse(&format!("sha256:{hex}")).unwrap();
        let tag = Tag::parse("_v1.0-X").unwrap();
        let id = UploadId::from_random([7; 16]);
        let session = super::upload(&name, &id);
        assert_eq!(super::repository_of(&session).as_deref(), Some("a/b-c__d.e"));
        assert_eq!(
            super::layer_link_of(&session, &digest),
            Some(super::layer_link(&name, &digest))
        );
        let repository = "docker/registry/v2/repositories/a/b-c__d.e";
        for (key, expected) in [
            (super::blob(&digest), format!("docker/registry/v2/blobs/sha256/01/{hex}/data")),
            (super::layer_link(&name, &digest), format!("{repository}/_layers/sha256/{hex}/link")),
            (
                super::revision_link(&name, &digest),
                format!("{repository}/_manifests/revisions/sha256/{hex}/link"),
            ),
            (
                super::tag_link(&name, &tag),
                format!("{repository}/_manifests/tags/_v1.0-X/current/link"),
            ),
            (
                super::tag_index_link(&name, &tag, &digest),
                format!("{repository}/_manifests/tags/_v1.0-X/index/sha256/{hex}/link"),
            ),
            (super::upload(&name, &id), format!("{repository}/_uploads/{id}")),
            (
                super::referrer(&name, &digest, &digest),
                format!("{repository}/_referrers/sha256/{hex}/sha256-{hex}/descriptor"),
            ),
            (
                super::hint(&digest, &name),
                format!("docker/registry/v2/blobs/sha256/01/{hex}/_hint-a=b-c__d.e"),
            ),
        ] {
            assert_eq!(key.as_ref(), expected);
        }
        assert_eq!(super::unescape_name("a=b-c__d.e"), Some(name));
        assert_eq!(super::unescape_name("=a"), None);
    }
}
