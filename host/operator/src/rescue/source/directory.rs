//! Directories: the data directory of a registry, or an OCI layout.

use super::{At, Blob, regular};
use roadstead_oci::{Digest, MediaType, RepositoryName};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The data of distribution's layout, below its root directory.
const LAYOUT: &str = "docker/registry/v2";

/// A directory with blobs by their digests.
pub(super) struct Directory {
    root: PathBuf,
    kind: Kind,
}

enum Kind {
    /// `blobs/<algorithm>/<first two digits>/<encoded>/data`.
    Registry,
    /// `blobs/<algorithm>/<encoded>`.
    Layout,
}

impl Directory {
    /// Finds out what a directory is.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let below = path.join(LAYOUT);
        let (root, kind) = if below.is_dir() {
            (below, Kind::Registry)
        } else if path.join("oci-layout").is_file() {
            (path.to_owned(), Kind::Layout)
        } else if path.join("blobs").is_dir() && path.join("repositories").is_dir() {
            (path.to_owned(), Kind::Registry)
        } else {
            return Err(format!(
                "neither the data directory of a registry, which has {LAYOUT}, nor an OCI layout, \
                 which has oci-layout"
            ));
        };
        Ok(Self { root, kind })
    }

    /// A blob, if it is there.
    pub(super) fn blob(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        let (algorithm, encoded) = (digest.algorithm().as_str(), digest.encoded());
        let mut path = self.root.join("blobs").join(algorithm);
        match self.kind {
            Kind::Registry => {
                path.extend([encoded.get(..2).unwrap_or_default(), encoded, "data"]);
            }
            Kind::Layout => path.push(encoded),
        }
        let found = regular(&path)?;
        Ok(found.map(|(file, size)| Blob { size, at: At::File(Arc::new(file), 0) }))
    }

    /// The media type that a manifest was pushed with, where that is kept.
    pub(super) fn media_type(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Option<MediaType> {
        let path = self
            .root
            .join("repositories")
            .join(repository.as_str())
            .join("_manifests/revisions")
            .join(digest.algorithm().as_str())
            .join(digest.encoded())
            .join("media-type");
        regular(&path).ok()??;
        let text = crate::files::read(&path, MediaType::MAX_LENGTH as u64).ok()?;
        MediaType::parse(std::str::from_utf8(&text).ok()?).ok()
    }
}
