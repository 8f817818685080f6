//! Registries over a directory and over a bucket.

use bytes::Bytes;
use http::{Request, Response};
use roadstead_cloud::{CloudStorage, Options};
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::body::NativeBodies;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::contract::sha256;
use roadstead_kit::directory::NativeDirectory;
use roadstead_kit::native::NativeRegistry;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The setting that allows deletes.
const DELETE: (&str, &str) = ("REGISTRY_STORAGE_DELETE_ENABLED", "true");

pub(super) struct World {
    registry: NativeRegistry,
    root: Option<TempDir>,
}

impl World {
    pub(super) fn directory(settings: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let storage = DirectoryStorage(NativeDirectory::new(directory));
        let registry = NativeRegistry::new(storage, settings).unwrap();
        Self { registry, root: Some(root) }
    }

    pub(super) fn bucket(settings: &[(&str, &str)]) -> Self {
        let backend = MemoryBucket::default().backend("");
        let storage = CloudStorage::<NativeBodies>::new(backend, Options::default());
        Self { registry: NativeRegistry::new(storage, settings).unwrap(), root: None }
    }

    /// One over each.
    pub(super) fn both() -> [Self; 2] {
        [Self::directory(&[DELETE]), Self::bucket(&[DELETE])]
    }

    pub(super) fn has_directory(&self) -> bool {
        self.root.is_some()
    }

    /// Where the directory has a repository.
    pub(super) fn repository(&self, name: &str) -> PathBuf {
        self.path(&format!("repositories/{name}"))
    }

    /// Where the directory has the data of a blob.
    pub(super) fn data(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.path(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]))
    }

    fn path(&self, place: &str) -> PathBuf {
        let root: &Path = self.root.as_ref().unwrap().path();
        root.join("docker/registry/v2").join(place)
    }

    pub(super) async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.registry.send(request).await
    }

    pub(super) async fn put(&self, name: &str, reference: &str, media_type: &str, body: String) {
        let request = Request::put(format!("/v2/{name}/manifests/{reference}"));
        let request = request.header("content-type", media_type).body(body.into()).unwrap();
        let response = self.send(request).await;
        assert_eq!(response.status(), 201, "{name}:{reference}: {:?}", response.body());
    }

    pub(super) async fn blob(&self, name: &str, bytes: impl Into<Bytes>) -> Value {
        let bytes = bytes.into();
        let (digest, size) = (sha256(&bytes).to_string(), bytes.len());
        let request = Request::post(format!("/v2/{name}/blobs/uploads/?digest={digest}"));
        let response = self.send(request.body(bytes).unwrap()).await;
        assert_eq!(response.status(), 201);
        json!({ "mediaType": IMAGE_CONFIG, "digest": digest, "size": size })
    }

    /// Begins an upload that does not end.
    pub(super) async fn begin_upload(&self, name: &str, bytes: &'static str) {
        let request = Request::post(format!("/v2/{name}/blobs/uploads/"));
        let response = self.send(request.body(Bytes::new()).unwrap()).await;
        assert_eq!(response.status(), 202);
        let location = response.headers()["location"].to_str().unwrap();
        let request = Request::patch(location).body(Bytes::from(bytes)).unwrap();
        assert_eq!(self.send(request).await.status(), 202);
    }

    /// The answer at a path, which has to be one.
    pub(super) async fn get(&self, path: &str) -> Value {
        let response = self.send(Request::get(path).body(Bytes::new()).unwrap()).await;
        assert_eq!(response.status(), 200, "{path}: {:?}", response.body());
        serde_json::from_slice(response.body()).unwrap()
    }

    pub(super) async fn status(&self, path: &str) -> u16 {
        let response = self.send(Request::get(path).body(Bytes::new()).unwrap()).await;
        response.status().as_u16()
    }
}

/// An image with a config, and layers that other places have.
pub(super) fn image(config: &Value, annotations: &Value) -> String {
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [],
        "annotations": annotations,
    })
    .to_string()
}

/// An index of manifests by their bytes.
pub(super) fn index(children: &[&str], number: usize) -> String {
    let child = |child: &&str| {
        json!({
            "mediaType": if child.contains("\"config\"") { MANIFEST } else { INDEX },
            "digest": sha256(child.as_bytes()).to_string(), "size": child.len(),
        })
    };
    let children: Vec<Value> = children.iter().map(child).collect();
    json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": children,
        "annotations": { "number": number.to_string() },
    })
    .to_string()
}

/// The names of entries, or of tags.
pub(super) fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect()
}
