//! The layer of an image: its files, as a compressed archive.

use crate::archive::{Entry, append};
use crate::{Program, USER};
use flate2::{Compression, GzBuilder};
use roadstead_oci::{Algorithm, Digest};
use sha2::{Digest as _, Sha256};
use std::io::{self, Write as _};
use tar::Builder;

/// The configuration file, under the name of distribution 3's image. The name of
/// version 2's leads to it, so that a file mounted at either one is read.
const CONFIGURATION: &str = include_str!("config.yml");

/// Users by their names, for programs that look them up.
const USERS: &str = "root:x:0:0:root:/:/sbin/nologin\nroadstead:x:65532:65532::/:/sbin/nologin\n";

/// Groups by their names.
const GROUPS: &str = "root:x:0:\nroadstead:x:65532:\n";

/// A layer's archive.
pub(crate) struct Layer {
    /// As images contain it.
    pub(crate) compressed: Vec<u8>,
    /// The digest before it was compressed, which an image's configuration names.
    pub(crate) uncompressed: Digest,
}

/// The layer with this program.
pub(crate) fn build(program: &Program, created: u64) -> anyhow::Result<Layer> {
    let mut archive = Builder::new(Vec::new());
    for (path, entry) in [
        ("bin/", Entry::Directory(0o755, 0)),
        ("bin/htpasswd", Entry::Link("roadstead")),
        ("bin/registry", Entry::Link("roadstead")),
        ("bin/roadstead", Entry::File(0o755, program.bytes())),
        ("etc/", Entry::Directory(0o755, 0)),
        ("etc/distribution/", Entry::Directory(0o755, 0)),
        ("etc/distribution/config.yml", Entry::File(0o644, CONFIGURATION.as_bytes())),
        ("etc/docker/", Entry::Directory(0o755, 0)),
        ("etc/docker/registry/", Entry::Directory(0o755, 0)),
        ("etc/docker/registry/config.yml", Entry::Link("../../distribution/config.yml")),
        ("etc/group", Entry::File(0o644, GROUPS.as_bytes())),
        ("etc/passwd", Entry::File(0o644, USERS.as_bytes())),
        ("tmp/", Entry::Directory(0o1777, 0)),
        ("var/", Entry::Directory(0o755, 0)),
        ("var/lib/", Entry::Directory(0o755, 0)),
        // An engine gives this owner to a new volume, too.
        ("var/lib/registry/", Entry::Directory(0o755, USER)),
    ] {
        append(&mut archive, path, &entry, created)?;
    }
    let archive = archive.into_inner()?;
    let digest = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(&archive));
    let uncompressed = digest.ok_or_else(|| io::Error::other("a digest of another length"))?;
    // Without a time, so that the same files give the same bytes.
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(&archive)?;
    Ok(Layer { compressed: gzip.finish()?, uncompressed })
}
