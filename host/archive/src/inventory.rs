//! What there is: in a registry, in archives, or in what is to be moved.

use roadstead_oci::{Digest, MediaType, RepositoryName, Tag};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Repositories, and the contents that they refer to.
///
/// As JSON it is the first member of an archive, what `roadstead inventory` prints, and what
/// `--since` reads.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    /// The version of this format: [`Self::VERSION`].
    #[serde(default = "version")]
    pub schema_version: u32,
    /// How many volumes the archive has; none, if it describes no archive.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub volumes: u32,
    /// The repositories.
    pub repositories: BTreeMap<RepositoryName, Repository>,
    /// All manifests and blobs that the repositories hold.
    pub contents: BTreeMap<Digest, Content>,
}

/// What a repository holds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repository {
    /// The tags, and the manifests that they lead to.
    #[serde(default)]
    pub tags: BTreeMap<Tag, Digest>,
    /// The manifests: those of tags, the children of indexes, and referrers.
    #[serde(default)]
    pub manifests: BTreeMap<Digest, Manifest>,
}

/// What a manifest refers to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Its media type.
    pub media_type: MediaType,
    /// Its artifact type or, of an image manifest without one, the media type of its config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// The manifest that it refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
    /// The manifests of an index that are to be there: all of them, or the chosen platforms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Digest>,
    /// The blobs that the repository has to hold: of an image the config, then the layers in
    /// their order. One may be in it twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<Digest>,
}

/// A manifest or a blob.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// How many bytes it has.
    pub size: u64,
    /// Where in the volumes it is: all of it in one, or parts of it in several. In none of
    /// them, if the receiving side has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pieces: Vec<Piece>,
}

impl Content {
    /// The piece that begins at a byte. Pieces are in order.
    pub fn piece(&self, offset: u64) -> Option<&Piece> {
        let at = self.pieces.binary_search_by_key(&offset, |piece| piece.offset).ok()?;
        self.pieces.get(at)
    }
}

/// A part of a content that is in a volume.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Piece {
    /// The number of the volume, from 1 on.
    pub volume: u32,
    /// The first byte of the content that is in it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
    /// Their SHA-256, if they are not all of the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

impl Inventory {
    /// The version of the format that this version reads and writes.
    pub const VERSION: u32 = 1;

    /// The longest JSON of an inventory, in bytes.
    ///
    /// Limit: bytes of an inventory; test: `inventories_are_read_as_they_are_written`.
    pub const MAX_SIZE: usize = 64 * 1024 * 1024;

    /// Reads the JSON of an inventory.
    ///
    /// # Errors
    /// When it is none, of another version, or longer than [`Self::MAX_SIZE`].
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        if json.len() > Self::MAX_SIZE {
            return Err(format!("the inventory has more than {} bytes", Self::MAX_SIZE));
        }
        let inventory: Self = serde_json::from_slice(json)
            .map_err(|error| format!("the inventory is invalid: {error}"))?;
        if inventory.schema_version != Self::VERSION {
            return Err(format!(
                "the inventory has schema version {}, and this program reads version {}",
                inventory.schema_version,
                Self::VERSION
            ));
        }
        Ok(inventory)
    }

    /// Its JSON, which is always the same for the same inventory.
    ///
    /// # Errors
    /// When it is longer than [`Self::MAX_SIZE`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let json = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        if json.len() > Self::MAX_SIZE {
            return Err(format!("the inventory has more than {} bytes", Self::MAX_SIZE));
        }
        Ok(json)
    }
}

impl Default for Inventory {
    fn default() -> Self {
        let (repositories, contents) = (BTreeMap::new(), BTreeMap::new());
        Self { schema_version: Self::VERSION, volumes: 0, repositories, contents }
    }
}

fn version() -> u32 {
    Inventory::VERSION
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::{Content, Inventory, Manifest, Piece, Repository};

    #[test]
    fn inventories_are_read_as_they_are_written() {
        let empty = Inventory::parse(br#"{"repositories": {}, "contents": {}}"#).unwrap();
        assert_eq!(empty, Inventory::default());
        let manifest = Manifest {
            media_type: "a/b".parse().unwrap(),
            artifact_type: "c/d".parse().ok(),
            subject: Some(digest(5)),
            children: vec![digest(1)],
            blobs: vec![digest(2), digest(2)],
        };
        let piece = Piece { volume: 2, offset: 7, length: 9, digest: Some(digest(3)) };
        let inventory = Inventory {
            schema_version: 1,
            volumes: 3,
            repositories: [(
                "a/b".parse().unwrap(),
                Repository {
                    tags: [("t".parse().unwrap(), digest(4))].into(),
                    manifests: [(digest(4), manifest)].into(),
                },
            )]
            .into(),
            contents: [(digest(4), Content { size: 16, pieces: vec![piece] })].into(),
        };
        let mut json = inventory.to_bytes().unwrap();
        assert_eq!(Inventory::parse(&json), Ok(inventory));
        json.resize(Inventory::MAX_SIZE, b' ');
        assert!(Inventory::parse(&json).is_ok());
        json.push(b' ');
        let error = Inventory::parse(&json).unwrap_err();
        assert!(error.contains("more than 67108864 bytes"), "{error}");
        let later = br#"{"schemaVersion": 2, "repositories": {}, "contents": {}}"#;
        let error = Inventory::parse(later).unwrap_err();
        assert!(error.contains("schema version 2"), "{error}");
        let error = Inventory::parse(b"[]").unwrap_err();
        assert!(error.contains("the inventory is invalid"), "{error}");
    }

    fn digest(digit: u8) -> roadstead_oci::Digest {
        format!("sha256:{}", digit.to_string().repeat(64)).parse().unwrap()
    }
}
