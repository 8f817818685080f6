//! The pushed content: blobs that are all different although they share memory,
//! and the manifests that name them.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that all blobs repeat up to their tail.
const PATTERN_SIZE: usize = 8 << 20;

/// Bytes of a blob that are written to a connection at a time.
const FRAME: usize = 256 << 10;

/// Bytes at a blob's end that distinguish it from all others.
const TAIL: usize = 16;

/// The repository that everything is pushed to.
pub(crate) const REPOSITORY: &str = "bench/app";

/// The size that manifests are padded to, in bytes.
pub(crate) const MANIFEST_SIZE: usize = 2048;

/// The media type of image manifests.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// A blob.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    /// `sha256:…`.
    pub(crate) digest: String,
    /// In bytes.
    pub(crate) size: usize,
    pattern: Bytes,
    tail: Bytes,
}

impl Blob {
    /// The bytes from `start` to `end`, excluded, without copies.
    pub(crate) fn frames(&self, start: usize, end: usize) -> Vec<Bytes> {
        let body = self.size - TAIL;
        let mut frames = Vec::new();
        let mut at = start;
        while at < end {
            let (source, from, rest) = if at < body {
                let from = at % PATTERN_SIZE;
                (&self.pattern, from, (body - at).min(PATTERN_SIZE - from))
            } else {
                (&self.tail, at - body, self.size - at)
            };
            let length = rest.min(end - at).min(FRAME);
            frames.push(source.slice(from..from + length));
            at += length;
        }
        frames
    }
}

/// The number of the next blob.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Generates blobs of one size; no two are the same, of whichever generator.
#[derive(Debug)]
pub(crate) struct BlobGenerator {
    size: usize,
    pattern: Bytes,
    /// The hash of everything before the tail.
    state: Sha256,
}

impl BlobGenerator {
    /// For blobs of `size` bytes, which must be more than [`TAIL`].
    pub(crate) fn new(pattern: &Bytes, size: usize) -> Self {
        let mut state = Sha256::new();
        let mut left = size - TAIL;
        while left > 0 {
            let part = left.min(pattern.len());
            state.update(&pattern[..part]);
            left -= part;
        }
        Self { size, pattern: pattern.clone(), state }
    }

    /// The next blob.
    pub(crate) fn blob(&self) -> Blob {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let tail = format!("{number:0TAIL$}");
        let mut state = self.state.clone();
        state.update(&tail);
        Blob {
            digest: digest_of(&state.finalize()),
            size: self.size,
            pattern: self.pattern.clone(),
            tail: tail.into(),
        }
    }
}

/// Pseudorandom bytes, which neither compress nor deduplicate.
pub(crate) fn pattern() -> Bytes {
    // Xorshift; the seed must not be zero.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = (0..PATTERN_SIZE / 8).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.collect::<Vec<u8>>().into()
}

/// The digest of bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    digest_of(&Sha256::digest(bytes))
}

fn digest_of(hash: &[u8]) -> String {
    format!("sha256:{:x}", base16ct::HexDisplay(hash))
}

/// A manifest of at least [`MANIFEST_SIZE`] bytes; the first blob is its
/// configuration.
pub(crate) fn manifest(config: &Blob, layers: &[Blob]) -> Bytes {
    let layers: Vec<_> = layers.iter().map(|layer| descriptor(layer, "layer.v1.tar")).collect();
    let config = descriptor(config, "config.v1+json");
    let layers = layers.join(",");
    let with = |padding: &str| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST_TYPE}","config":{config},"layers":[{layers}],"annotations":{{"padding":"{padding}"}}}}"#
        )
    };
    with(&"x".repeat(MANIFEST_SIZE.saturating_sub(with("").len()))).into()
}

fn descriptor(blob: &Blob, kind: &str) -> String {
    format!(
        r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{}","size":{}}}"#,
        blob.digest, blob.size
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Registries refuse any other spelling.
    #[test]
    fn digests_are_lower_case() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest(b""), empty);
    }

    #[test]
    fn frames_are_what_was_hashed() {
        let pattern = pattern();
        for size in [TAIL + 1, 64 << 10, PATTERN_SIZE, PATTERN_SIZE * 2 + 12_345] {
            let maker = BlobGenerator::new(&pattern, size);
            let (one, two) = (maker.blob(), maker.blob());
            assert_ne!(one.digest, two.digest);
            for blob in [one, two] {
                assert_eq!(digest(&blob.frames(0, size).concat()), blob.digest);
                let halves = [blob.frames(0, size / 2), blob.frames(size / 2, size)].concat();
                assert_eq!(digest(&halves.concat()), blob.digest);
            }
        }
    }

    #[test]
    fn manifests_are_padded() {
        let maker = BlobGenerator::new(&pattern(), 100);
        let (config, layer) = (maker.blob(), maker.blob());
        assert_eq!(manifest(&config, std::slice::from_ref(&layer)).len(), MANIFEST_SIZE);
    }
}
