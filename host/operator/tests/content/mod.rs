//! Content that a collector destroys, and what it leaves.

use crate::local::LocalRegistry;
use bytes::Bytes;
use roadstead_kit::contract::sha256;
use roadstead_operator::registry::Registry as _;
use serde_json::json;
use std::path::{Path, PathBuf};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// So many bytes that it takes two pieces.
pub(crate) const LARGE: usize = 8 * 1024 * 1024 + 1;

/// An index of two images, of which one has a large layer, and a signature of it.
pub(crate) struct Content {
    pub(crate) blobs: Vec<Bytes>,
    /// The images, the signature and the index, each with its type.
    pub(crate) manifests: Vec<(&'static str, Bytes)>,
}

impl Content {
    pub(crate) fn new() -> Self {
        Self::with_layer(100)
    }

    /// With a layer of so many bytes.
    pub(crate) fn with_layer(size: usize) -> Self {
        let [one, two] = [&b"config one"[..], b"config two"].map(<[u8]>::to_vec);
        let blobs = [one, two, b"small".to_vec(), vec![7; size], b"signature".to_vec()];
        let blobs = blobs.map(Bytes::from);
        let of = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": sha256(bytes), "size": bytes.len() });
        let image = |config: &Bytes, layer: &Bytes| {
            json!({
                "schemaVersion": 2,
                "mediaType": IMAGE,
                "config": of("application/vnd.oci.image.config.v1+json", config),
                "layers": [of(LAYER, layer)],
            })
        };
        let one = Bytes::from(image(&blobs[0], &blobs[2]).to_string());
        let two = Bytes::from(image(&blobs[1], &blobs[3]).to_string());
        let listed = [of(IMAGE, &one), of(IMAGE, &two)];
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed });
        let index = Bytes::from(index.to_string());
        let mut signature = image(&blobs[0], &blobs[4]);
        signature["subject"] = of(INDEX, &index);
        let signature = Bytes::from(signature.to_string());
        let manifests = vec![(IMAGE, one), (IMAGE, two), (IMAGE, signature), (INDEX, index)];
        Self { blobs: blobs.to_vec(), manifests }
    }

    pub(crate) fn digest(&self, number: usize) -> String {
        sha256(&self.manifests[number].1).to_string()
    }

    pub(crate) async fn push(&self, root: &Path) {
        let registry = LocalRegistry::open(root);
        let send = async |method: &str, path: String, kind: &str, body: &Bytes| {
            let request = http::Request::builder().method(method).uri(path);
            let request = request.header("content-type", kind).body(body.clone()).unwrap();
            let answer = registry.request(request, 10_000).await.unwrap();
            assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        };
        for blob in &self.blobs {
            let path = format!("/v2/team/app/blobs/uploads/?digest={}", sha256(blob));
            send("POST", path, "application/octet-stream", blob).await;
        }
        for (number, (kind, bytes)) in self.manifests.iter().enumerate() {
            let digest = self.digest(number);
            let reference = if *kind == INDEX { "v1" } else { &digest };
            send("PUT", format!("/v2/team/app/manifests/{reference}"), kind, bytes).await;
        }
    }

    /// What cannot be pulled.
    pub(crate) async fn missing(&self, root: &Path) -> Vec<String> {
        let registry = LocalRegistry::open(root);
        let manifests = (0..self.manifests.len()).map(|number| {
            (format!("manifests/{}", self.digest(number)), &self.manifests[number].1)
        });
        let blobs = self.blobs.iter().map(|blob| (format!("blobs/{}", sha256(blob)), blob));
        let mut missing = Vec::new();
        for (path, bytes) in manifests.chain(blobs) {
            let uri = format!("/v2/team/app/{path}");
            let request = http::Request::get(uri).body(Bytes::new()).unwrap();
            let answer = registry.request(request, LARGE + 1).await.unwrap();
            if answer.status != 200 || answer.body != *bytes {
                missing.push(path);
            }
        }
        missing
    }

    /// As an OCI layout.
    pub(crate) fn layout(&self, root: &Path) {
        std::fs::create_dir_all(root.join("blobs/sha256")).unwrap();
        std::fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        for bytes in self.blobs.iter().chain(self.manifests.iter().map(|(_, bytes)| bytes)) {
            std::fs::write(root.join("blobs/sha256").join(sha256(bytes).encoded()), bytes).unwrap();
        }
    }
}

pub(crate) fn at(root: &Path, digest: &str) -> PathBuf {
    let hex = digest.strip_prefix("sha256:").unwrap();
    root.join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex)
}

/// What distribution's collector does with `-m`: the images of an index and the referrers
/// are no longer held; the bytes of what only they have are gone, but not those of the
/// index's manifests.
pub(crate) fn collect(root: &Path, content: &Content) {
    let revisions = root.join("docker/registry/v2/repositories/team/app/_manifests/revisions");
    for number in [0, 1, 2] {
        let digest = content.digest(number);
        let hex = digest.strip_prefix("sha256:").unwrap();
        std::fs::remove_dir_all(revisions.join("sha256").join(hex)).unwrap();
    }
    std::fs::remove_dir_all(at(root, &content.digest(2))).unwrap();
    for blob in &content.blobs {
        std::fs::remove_dir_all(at(root, sha256(blob).as_str())).unwrap();
    }
}

/// A registry that was damaged, and a backup of before.
pub(crate) async fn damaged(content: &Content) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let (data, backup) = (root.path().join("data"), root.path().join("backup"));
    for place in [&data, &backup] {
        std::fs::create_dir(place).unwrap();
        content.push(place).await;
        assert_eq!(content.missing(place).await, [""; 0]);
    }
    collect(&data, content);
    assert_eq!(content.missing(&data).await.len(), 8);
    (root, data, backup)
}
