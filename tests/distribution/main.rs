//! One directory, served alternately by this registry and by distribution: each
//! serves what the other one stored; and what distribution's collector does there. With every
//! version of distribution that is installed.

mod collector;
mod condemned;
mod migration;
mod rescue;

use roadstead_tests::{
    Distribution, Registry, Step, Target, delete, digest, get, head, post, put, run, skip,
};
use std::path::{Path, PathBuf};
use std::process::Command;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DELETES: [(&str, &str); 1] = [("REGISTRY_STORAGE_DELETE_ENABLED", "true")];

/// A different image for each name.
struct Image {
    name: &'static str,
    blobs: [Vec<u8>; 2],
    manifest: String,
}

impl Image {
    fn new(name: &'static str, subject: Option<&str>) -> Self {
        let blobs = [format!("{name} config").into_bytes(), format!("{name} layer").into_bytes()];
        let descriptor = |media_type: &str, blob: &[u8]| serde_json::json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() });
        let mut manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &blobs[0]),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &blobs[1])],
        });
        if let Some(subject) = subject {
            manifest["subject"] =
                serde_json::json!({ "mediaType": OCI_MANIFEST, "digest": subject, "size": 2 });
        }
        Self { name, blobs, manifest: manifest.to_string() }
    }

    fn digest(&self) -> String {
        digest(self.manifest.as_bytes())
    }

    /// The requests of a push, in a form that both registries support.
    fn push(&self) -> Vec<Step> {
        self.push_as("v1")
    }

    fn push_as(&self, reference: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        for blob in &self.blobs {
            steps.push(post(format!("/v2/{}/blobs/uploads/", self.name)).status(202));
            let at = format!("{{location}}{{&}}digest={}", digest(blob));
            steps.push(
                put(at)
                    .header("content-type", "application/octet-stream")
                    .body(blob.clone())
                    .status(201),
            );
        }
        let at = format!("/v2/{}/manifests/{reference}", self.name);
        steps.push(
            put(at).header("content-type", OCI_MANIFEST).body(self.manifest.clone()).status(201),
        );
        steps
    }

    fn pull(&self) -> Vec<Step> {
        let at = format!("/v2/{}/manifests", self.name);
        let mut steps = vec![
            get(format!("{at}/v1"))
                .header("accept", OCI_MANIFEST)
                .expect("content-type", OCI_MANIFEST)
                .expect("docker-content-digest", self.digest())
                .content(self.manifest.clone()),
            head(format!("{at}/{}", self.digest())).header("accept", OCI_MANIFEST),
        ];
        for blob in &self.blobs {
            steps.push(
                get(format!("/v2/{}/blobs/{}", self.name, digest(blob))).content(blob.clone()),
            );
        }
        steps
    }

    fn pull_by_digest(&self) -> Vec<Step> {
        let at = format!("/v2/{}/manifests/{}", self.name, self.digest());
        let mut steps = vec![get(at).header("accept", OCI_MANIFEST).content(self.manifest.clone())];
        for blob in &self.blobs {
            let at = format!("/v2/{}/blobs/{}", self.name, digest(blob));
            steps.push(get(at).content(blob.clone()));
        }
        steps
    }
}

/// An index of one image.
fn index_of(image: &Image) -> String {
    let descriptor = serde_json::json!({ "mediaType": OCI_MANIFEST, "digest": image.digest(), "size": image.manifest.len() });
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor],
    });
    index.to_string()
}

/// The push of an index, with a tag.
fn push_index(name: &str, index: &str) -> Step {
    put(format!("/v2/{name}/manifests/v1"))
        .header("content-type", OCI_INDEX)
        .body(index.to_owned())
        .status(201)
}

async fn all(address: &str, steps: Vec<Step>) {
    run(&Target::Server(address.to_owned()), &steps).await;
}

/// The versions of distribution that are installed. Without any, the test is skipped.
fn programs(test: &str) -> Vec<PathBuf> {
    let programs = Distribution::programs();
    if programs.is_empty() {
        skip(test, "neither docker-registry nor registry is installed");
    }
    programs
}

/// Whether this is version 2, which deletes the images of a tagged index.
fn is_version_2(program: &Path) -> bool {
    program.ends_with("docker-registry")
}

fn copied(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// Runs distribution's collector: whether it succeeds, and what it says.
fn collect(program: &Path, root: &Path, flags: &[&str]) -> (bool, String) {
    let distribution = Distribution::over(root, program).unwrap();
    let output = distribution.garbage_collect(flags).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn a_directory_moves_from_one_registry_to_the_other_and_back() {
    for program in programs("a_directory_moves_from_one_registry_to_the_other_and_back") {
        there_and_back(&program).await;
    }
}

async fn there_and_back(program: &Path) {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let ours = Image::new("ours/image", None);
    let gone = Image::new("ours/gone", None);
    let theirs = Image::new("theirs", None);
    let referrer = Image::new("ours/image", Some(&ours.digest()));

    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, ours.push()).await;
    all(&registry.address, gone.push()).await;
    let deleted = delete(format!("/v2/ours/gone/manifests/{}", gone.digest())).status(202);
    all(&registry.address, vec![deleted]).await;
    drop(registry);

    let distribution = Distribution::over(root.path(), program).unwrap();
    let registry = distribution.serve().unwrap();
    all(&registry.address, ours.pull()).await;
    all(&registry.address, theirs.push()).await;
    let tagged =
        get("/v2/ours/image/tags/list").content("{\"name\":\"ours/image\",\"tags\":[\"v1\"]}\n");
    let missing = get("/v2/ours/gone/manifests/v1").status(404);
    all(&registry.address, vec![tagged, missing]).await;
    drop(registry);

    // distribution's garbage collection removes unreferenced blobs only.
    let (succeeded, said) = collect(program, root.path(), &[]);
    assert!(succeeded, "{said}");

    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, ours.pull()).await;
    all(&registry.address, theirs.pull()).await;
    let hex = &gone.digest()["sha256:".len()..];
    assert!(!data.join(format!("docker/registry/v2/blobs/sha256/{}/{hex}", &hex[..2])).exists());
    // A referrer of an image that distribution has served in between.
    all(&registry.address, referrer.push()).await;
    drop(registry);

    let registry = distribution.serve().unwrap();
    all(&registry.address, referrer.pull()).await;
    all(&registry.address, theirs.pull()).await;
}
