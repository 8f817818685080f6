//! The offline count: what is to be there, by what clients know, and by what the
//! manifests in the store say.

use crate::place::Place;
use crate::world::World;
use serde_json::Value;
use std::collections::BTreeMap;

/// Bytes of blobs by their digests, without `sha256:`.
pub type Blobs = BTreeMap<String, u64>;

/// What the versions refer to that clients have pushed and not deleted.
pub fn expected(world: &World) -> Blobs {
    let mut all = Blobs::new();
    for tag in world.tags.iter().flatten() {
        for version in tag.versions() {
            for manifest in version.manifests() {
                let own = (manifest.digest().to_owned(), manifest.blob.bytes.len() as u64);
                for (digest, size) in manifest.blobs.iter().cloned().chain([own]) {
                    all.insert(hex(&digest), size);
                }
            }
        }
    }
    all
}

/// What the manifests refer to that repositories hold, read from the store.
pub async fn referenced(place: &Place) -> Blobs {
    let mut all = Blobs::new();
    for digest in place.revisions().await {
        // One that is lost differs from what is expected.
        let Some(bytes) = place.blob(&digest).await else { continue };
        all.insert(digest, bytes.len() as u64);
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        let lists = ["layers", "manifests"].map(|name| manifest[name].as_array());
        let lists = lists.into_iter().flatten().flatten().chain(manifest.get("config"));
        for descriptor in lists {
            let digest = hex(descriptor["digest"].as_str().unwrap());
            all.insert(digest, descriptor["size"].as_u64().unwrap());
        }
    }
    all
}

pub fn bytes(blobs: &Blobs) -> u64 {
    blobs.values().sum()
}

fn hex(digest: &str) -> String {
    digest.strip_prefix("sha256:").unwrap_or(digest).to_owned()
}
