//! The files of the registry's page, as they are served below `/ui/`: those in `assets/`, and
//! each compressed with gzip when this crate is built.

/// A file of the page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// Its path below `/ui/`.
    pub path: &'static str,
    /// Its media type, as in `Content-Type`.
    pub media_type: &'static str,
    /// The SHA-256 of its bytes, in hexadecimal digits.
    pub hash: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
    /// The same, compressed with gzip.
    pub gzip: &'static [u8],
}

impl std::fmt::Debug for Asset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asset")
            .field("path", &self.path)
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

/// The file that is served at `/ui/` itself.
const INDEX: &str = "index.html";

/// All files, in the order of their paths.
pub static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The file at a path below `/ui/`; the empty path is that of `index.html`.
pub fn find(path: &str) -> Option<&'static Asset> {
    let path = if path.is_empty() { INDEX } else { path };
    let index = ASSETS.binary_search_by(|asset| asset.path.cmp(path)).ok()?;
    ASSETS.get(index)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "these are tests")]

    use super::{ASSETS, find};
    use flate2::read::GzDecoder;
    use sha2::{Digest as _, Sha256};
    use std::io::Read as _;

    #[test]
    fn files_are_what_they_say() {
        assert!(ASSETS.is_sorted_by_key(|asset| asset.path));
        for asset in ASSETS {
            assert_eq!(find(asset.path), Some(asset));
            let mut bytes = Vec::new();
            GzDecoder::new(asset.gzip).read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, asset.bytes, "{}", asset.path);
            let digest = Sha256::digest(asset.bytes);
            let hash = digest.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            assert_eq!(hash, asset.hash, "{}", asset.path);
        }
    }

    #[test]
    fn paths() {
        assert_eq!(find("").unwrap().path, "index.html");
        assert_eq!(find("").unwrap().media_type, "text/html; charset=utf-8");
        for path in ["/", "..", "../Cargo.toml", "index.html/", "INDEX.HTML", "./index.html"] {
            assert_eq!(find(path), None, "{path}");
        }
    }

    /// So that the page works with the policy that it is served with.
    #[test]
    fn pages_have_no_inline_code() {
        for asset in ASSETS.iter().filter(|asset| asset.media_type.starts_with("text/html")) {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            for odd in ["<style", " style=", "javascript:", " onclick=", " onload="] {
                assert!(!text.contains(odd), "{}: {odd}", asset.path);
            }
        }
    }
}
