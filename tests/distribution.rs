//! One directory, served alternately by this registry and by distribution: each
//! serves what the other one stored; and what distribution's collector does there.

use roadstead_tests::{
    Distribution, Registry, Step, Target, command, delete, digest, get, head, post, put, run, skip,
};
use std::path::Path;
use std::process::Command;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

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
}

async fn all(address: &str, steps: Vec<Step>) {
    run(&Target::Server(address.to_owned()), &steps).await;
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
    let Some(program) = Distribution::program() else {
        skip("distribution", "neither docker-registry nor registry is on the PATH");
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let settings = [("REGISTRY_STORAGE_DELETE_ENABLED", "true")];
    let ours = Image::new("ours/image", None);
    let gone = Image::new("ours/gone", None);
    let theirs = Image::new("theirs", None);
    let referrer = Image::new("ours/image", Some(&ours.digest()));

    let registry = Registry::start(&data, &settings, &[]).unwrap();
    all(&registry.address, ours.push()).await;
    all(&registry.address, gone.push()).await;
    let deleted = delete(format!("/v2/ours/gone/manifests/{}", gone.digest())).status(202);
    all(&registry.address, vec![deleted]).await;
    drop(registry);

    let distribution = Distribution::over(root.path(), &program).unwrap();
    let registry = distribution.serve().unwrap();
    all(&registry.address, ours.pull()).await;
    all(&registry.address, theirs.push()).await;
    let tagged =
        get("/v2/ours/image/tags/list").content("{\"name\":\"ours/image\",\"tags\":[\"v1\"]}\n");
    let missing = get("/v2/ours/gone/manifests/v1").status(404);
    all(&registry.address, vec![tagged, missing]).await;
    drop(registry);

    // distribution's garbage collection removes unreferenced blobs only.
    let (succeeded, said) = collect(&program, root.path(), &[]);
    assert!(succeeded, "{said}");

    let registry = Registry::start(&data, &settings, &[]).unwrap();
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

const DELETES: [(&str, &str); 1] = [("REGISTRY_STORAGE_DELETE_ENABLED", "true")];
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A manifest of this type, by its digest.
fn put_manifest(name: &str, media_type: &str, manifest: &str) -> Step {
    put(format!("/v2/{name}/manifests/{}", digest(manifest.as_bytes())))
        .header("content-type", media_type)
        .body(manifest.to_owned())
        .status(201)
}

/// Without the directories of tags and blobs, the collector ends with an error, or deletes
/// manifests that are held.
#[tokio::test]
async fn distribution_collects_where_the_last_tag_was_deleted() {
    let Some(program) = Distribution::program() else {
        skip("distribution", "neither docker-registry nor registry is on the PATH");
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let (untagged, tagged) = (Image::new("untagged", None), Image::new("tagged", None));
    // A manifest without a blob, and without a tag.
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#);
    let at = format!("/v2/index/manifests/{}", digest(index.as_bytes()));
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, untagged.push()).await;
    all(&registry.address, tagged.push()).await;
    all(&registry.address, vec![put_manifest("index", OCI_INDEX, &index)]).await;
    all(&registry.address, vec![delete("/v2/untagged/manifests/v1").status(202)]).await;
    drop(registry);

    let (collected, said) = collect(&program, root.path(), &[]);
    assert!(collected, "{said}");
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, tagged.pull()).await;
    all(&registry.address, vec![get(&at).content(index.clone())]).await;
    let untagged_at = format!("/v2/untagged/manifests/{}", untagged.digest());
    all(&registry.address, vec![get(&untagged_at).content(untagged.manifest.clone())]).await;
    drop(registry);

    let (collected, said) = collect(&program, root.path(), &["-m"]);
    assert!(collected, "{said}");
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, tagged.pull()).await;
    let gone = |path: &str| get(path).error(404, "MANIFEST_UNKNOWN");
    all(&registry.address, vec![gone(&untagged_at), gone(&at)]).await;
}

/// The warnings of `docs/storage.md`.
#[tokio::test]
async fn distribution_collects_referrers_and_stops_at_unknown_manifests() {
    let Some(program) = Distribution::program() else {
        skip("distribution", "neither docker-registry nor registry is on the PATH");
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let image = Image::new("signed", None);
    let signature = Image::new("signed", Some(&image.digest()));
    let unknown_type = "application/vnd.example.unknown+json";
    let unknown = format!(r#"{{"schemaVersion":2,"mediaType":"{unknown_type}"}}"#);
    let referrers = get(format!("/v2/signed/referrers/{}", image.digest()));
    let none = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#);
    let by_digest = format!("/v2/signed/manifests/{}", signature.digest());
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, image.push()).await;
    all(&registry.address, signature.push_as(&signature.digest())).await;
    all(&registry.address, vec![put_manifest("signed", unknown_type, &unknown)]).await;
    drop(registry);

    // One manifest that it does not know, and nothing is collected.
    let (collected, said) = collect(&program, root.path(), &[]);
    assert!(!collected && said.contains("unrecognized manifest"), "{said}");
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, image.pull()).await;
    let unknown = format!("/v2/signed/manifests/{}", digest(unknown.as_bytes()));
    all(&registry.address, vec![delete(unknown).status(202)]).await;
    drop(registry);

    // What has no tag is kept.
    let (collected, said) = collect(&program, root.path(), &[]);
    assert!(collected, "{said}");
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, vec![get(&by_digest).content(signature.manifest.clone())]).await;
    drop(registry);

    // Or deleted, as signatures are.
    let (collected, said) = collect(&program, root.path(), &["-m"]);
    assert!(collected, "{said}");
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, image.pull()).await;
    all(&registry.address, vec![get(&by_digest).status(404), referrers.content(none)]).await;
}

/// Runs `roadstead rescue`: its exit status, and what it prints.
fn rescue(arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(["rescue"].iter().chain(arguments)).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// The images of an index and its signature, with `-m`; and a backup of before.
#[tokio::test]
async fn what_distribution_collected_is_rescued() {
    let Some(program) = Distribution::program() else {
        skip("distribution", "neither docker-registry nor registry is on the PATH");
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let (data, backup) = (root.path().join("data"), root.path().join("backup"));
    let kept = Image::new("kept", None);
    let platform = Image::new("rescued", None);
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{ "mediaType": OCI_MANIFEST, "digest": platform.digest(), "size": platform.manifest.len() }],
    });
    let index = index.to_string();
    let mut signature = Image::new("rescued", Some(&digest(index.as_bytes())));
    signature.blobs[1] = b"a signature".to_vec();
    signature.manifest =
        signature.manifest.replace(&digest(&platform.blobs[1]), &digest(&signature.blobs[1]));
    let at = |image: &Image| format!("/v2/rescued/manifests/{}", image.digest());
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, kept.push()).await;
    all(&registry.address, platform.push_as(&platform.digest())).await;
    let tagged =
        put("/v2/rescued/manifests/v1").header("content-type", OCI_INDEX).body(index.clone());
    all(&registry.address, vec![tagged.status(201)]).await;
    all(&registry.address, signature.push_as(&signature.digest())).await;
    drop(registry);
    let copied = Command::new("cp").arg("-a").arg(&data).arg(&backup).status().unwrap();
    assert!(copied.success());
    let [target, from] = [&data, &backup].map(|path| path.to_str().unwrap());
    let (status, said) = rescue(&[target]);
    assert_eq!(status, Some(0), "{said}");

    let (collected, said) = collect(&program, root.path(), &["-m"]);
    assert!(collected, "{said}");
    let (status, said) = rescue(&[target]);
    assert_eq!(status, Some(1), "{said}");
    for line in [
        format!("rescued: manifest {} (a platform of", platform.digest()),
        format!("rescued: manifest {} (a signature, SBOM or other referrer)", signature.digest()),
        "--from".to_owned(),
    ] {
        assert!(said.contains(&line), "{line}: {said}");
    }
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, kept.pull()).await;
    let gone = [&platform, &signature].map(|image| get(at(image)).status(404));
    all(&registry.address, gone.into()).await;
    // Meanwhile it is served.
    let (status, said) = rescue(&[target, "--from", from]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("another process serves"), "{said}");
    drop(registry);

    let (status, said) = rescue(&[target, "--from", from]);
    assert_eq!(status, Some(0), "{said}");
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, kept.pull()).await;
    all(&registry.address, vec![get("/v2/rescued/manifests/v1").content(index.clone())]).await;
    for image in [&platform, &signature] {
        all(&registry.address, vec![get(at(image)).content(image.manifest.clone())]).await;
        for blob in &image.blobs {
            let path = format!("/v2/rescued/blobs/{}", digest(blob));
            all(&registry.address, vec![get(path).content(blob.clone())]).await;
        }
    }
    // By its URL, of a registry that serves.
    let (status, said) = rescue(&[&format!("http://{}", registry.address)]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("nothing is lost"), "{said}");
}
