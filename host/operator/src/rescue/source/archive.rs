//! Archives: an OCI layout or a data directory as a tar file, or what `docker save` writes.

use super::tar::{Entries, Entry, Stop};
use super::{At, Blob, read_at};
use roadstead_oci::{Algorithm, Digest};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

/// The first bytes of compressed files, and what unpacks them.
const COMPRESSED: [(&[u8], &str); 4] = [
    (&[0x1f, 0x8b], "gunzip"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "unzstd"),
    (b"BZh", "bunzip2"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "unxz"),
];

/// The bytes that are hashed at a time.
///
/// Limit: bytes of an archive in memory; test: none, it is the size of a buffer.
const BUFFER: usize = 1024 * 1024;

/// A tar file with blobs.
pub(super) struct Archive {
    file: Arc<File>,
    /// Where the bytes of a digest are, and how many.
    blobs: BTreeMap<Digest, (u64, u64)>,
    /// What the operator should know of it.
    pub(super) note: Option<String>,
}

impl Archive {
    /// Reads where what is in an archive.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| error.to_string();
        let mut file = File::open(path).map_err(failed)?;
        let mut first = Vec::new();
        file.by_ref().take(8).read_to_end(&mut first).map_err(failed)?;
        if let Some((_, program)) = COMPRESSED.iter().find(|(magic, _)| first.starts_with(magic)) {
            return Err(format!("it is compressed: unpack it first with {program}"));
        }
        let end = file.metadata().map_err(failed)?.len();
        let mut note = None;
        let mut files = Vec::new();
        let mut entries = Entries::new(&file, end);
        loop {
            match entries.next() {
                Ok(Some(entry)) => files.push(entry),
                Ok(None) => break,
                Err(Stop::NoArchive) => {
                    return Err(
                        "it is no tar archive; give an OCI layout or the output of docker \
                                save"
                            .to_owned(),
                    );
                }
                Err(Stop::Damaged(offset)) => {
                    note = Some(format!(
                        "it is damaged or cut off from byte {offset} on; what is before that is \
                         used"
                    ));
                    break;
                }
                Err(Stop::Failed(error)) => return Err(error.to_string()),
            }
        }
        let mut blobs: BTreeMap<Digest, (u64, u64)> = files
            .iter()
            .filter_map(|entry| Some((digest_of(&entry.name)?, (entry.offset, entry.size))))
            .collect();
        if blobs.is_empty() {
            // As docker save wrote before version 25: layers by names of their own.
            for entry in &files {
                blobs.insert(hash(&file, entry)?, (entry.offset, entry.size));
            }
        }
        Ok(Self { file: Arc::new(file), blobs, note })
    }

    /// A blob, if it is there.
    pub(super) fn blob(&self, digest: &Digest) -> Option<Blob> {
        let (offset, size) = *self.blobs.get(digest)?;
        Some(Blob { size, at: At::File(Arc::clone(&self.file), offset) })
    }
}

/// The digest that a file is named by: `blobs/<algorithm>/<encoded>` in a layout, and
/// `blobs/<algorithm>/<first two digits>/<encoded>/data` in a data directory.
fn digest_of(name: &str) -> Option<Digest> {
    let mut parts = name.rsplit('/');
    let last = parts.next()?;
    let encoded = if last == "data" { parts.next()? } else { last };
    let algorithm = match parts.next()? {
        pair if last == "data" && encoded.starts_with(pair) => parts.next()?,
        algorithm => algorithm,
    };
    let digest = Digest::parse(&format!("{algorithm}:{encoded}")).ok()?;
    (parts.next()? == "blobs").then_some(digest)
}

fn hash(file: &File, entry: &Entry) -> Result<Digest, String> {
    let (mut hash, mut buffer, mut done) = (Sha256::new(), vec![0; BUFFER], 0);
    while done < entry.size {
        let length = usize::try_from(entry.size - done).unwrap_or(BUFFER).min(BUFFER);
        let piece = buffer.get_mut(..length).unwrap_or_default();
        read_at(file, piece, entry.offset + done).map_err(|error| error.to_string())?;
        hash.update(&*piece);
        done += length as u64;
    }
    let digest = Digest::from_bytes(Algorithm::Sha256, &hash.finalize());
    digest.ok_or_else(|| "a hash has the wrong length".to_owned())
}
