//! A directory that version 0.1 wrote is served unchanged, and can be written
//! to: `tests/data/directory-0.1`, a copy for each form of the registry.
//!
//! It was filled over HTTP, and holds all that a directory can: images, an
//! index, a referrer, a manifest under its SHA-512 digest, tags that were moved
//! and deleted, mounts, a deleted manifest and a deleted blob, and an upload
//! session with bytes in it. The requests below name all of it.

use roadstead_kit::requests::{DELETE, OCI_INDEX, OCI_MANIFEST};
use roadstead_tests::{
    Registry, Step, Target, Wasmtime, delete, digest, digest_sha512, get, head, patch, post, put,
    run, skip,
};
use std::fs;
use std::path::Path;

const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

const CONFIG: &str = r#"{"architecture":"amd64","os":"linux"}"#;
const FIRST_LAYER: &str = "the first layer\n";
const SECOND_LAYER: &str = "the second layer\n";
const ONLY_LAYER: &str = "the only layer\n";
const SHA512_BLOB: &str = "a blob by its SHA-512 digest\n";
const DELETED_BLOB: &str = "deleted\n";

/// What the unfinished upload holds.
const UNFINISHED: &str = "unfinished ";
const UNFINISHED_UPLOAD: &str = "/v2/app/blobs/uploads/fafe55b9-7b8f-4fda-9574-1cebefea0524";

const CATALOG: &str = r#"{"repositories":["app","team/tools/app"]}"#;
const TAGS: &str = r#"["_hint-a","_uploads","index","latest","list","v1"]"#;

/// An image, of the configuration and these layers.
fn image(layers: &[&str]) -> String {
    let descriptor = |media_type: &str, blob: &str| {
        let (digest, size) = (digest(blob.as_bytes()), blob.len());
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
    };
    let config = descriptor("application/vnd.oci.image.config.v1+json", CONFIG);
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer))
        .collect();
    let layers = layers.join(",");
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[{layers}]}}"#
    )
}

/// The descriptor of an image.
fn descriptor(image: &str) -> String {
    let (digest, size) = (digest(image.as_bytes()), image.len());
    format!(r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":{size}}}"#)
}

/// The manifests that the directory holds, and one that was deleted.
struct Manifests {
    first: String,
    second: String,
    index: String,
    /// Refers to the first image.
    artifact: String,
    list: String,
    deleted: String,
}

impl Manifests {
    fn new() -> Self {
        let (first, second) = (image(&[FIRST_LAYER]), image(&[FIRST_LAYER, SECOND_LAYER]));
        let images = format!("{},{}", descriptor(&first), descriptor(&second));
        let subject = descriptor(&first);
        Self {
            // Its media type is in the directory alone.
            index: format!(r#"{{"schemaVersion":2,"manifests":[{images}]}}"#),
            artifact: format!(
                r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","artifactType":"application/vnd.example.note","manifests":[],"subject":{subject},"annotations":{{"note":"signed"}}}}"#
            ),
            list: format!(r#"{{"schemaVersion":2,"mediaType":"{DOCKER_LIST}","manifests":[]}}"#),
            deleted: image(&[SECOND_LAYER]),
            first,
            second,
        }
    }

    /// Each with its repository, digest, media type and tags.
    fn all(&self) -> [(&str, String, &str, &str, &[&str]); 6] {
        let by_sha256 = |text: &str| digest(text.as_bytes());
        let Self { first, second, index, artifact, list, .. } = self;
        [
            ("app", by_sha256(first), OCI_MANIFEST, first, &["v1", "_uploads"]),
            ("app", by_sha256(second), OCI_MANIFEST, second, &["latest", "_hint-a"]),
            ("app", by_sha256(index), OCI_INDEX, index, &["index"]),
            ("app", by_sha256(artifact), OCI_INDEX, artifact, &[]),
            ("app", digest_sha512(list.as_bytes()), DOCKER_LIST, list, &["list"]),
            ("team/tools/app", by_sha256(first), OCI_MANIFEST, first, &["1.0"]),
        ]
    }
}

fn lists() -> Vec<Step> {
    let app = |tags: &str| format!(r#"{{"name":"app","tags":{tags}}}"#);
    vec![
        get("/v2/_catalog").content(CATALOG),
        get("/v2/_catalog?n=1").content(r#"{"repositories":["app"]}"#),
        get("/v2/_catalog?n=1&last=app").content(r#"{"repositories":["team/tools/app"]}"#),
        get("/v2/app/tags/list").content(app(TAGS)),
        get("/v2/app/tags/list?n=2&last=_uploads").content(app(r#"["index","latest"]"#)),
        get("/v2/team/tools/app/tags/list").content(r#"{"name":"team/tools/app","tags":["1.0"]}"#),
        // One that holds a layer and no manifest.
        get("/v2/layers/tags/list").content(r#"{"name":"layers","tags":[]}"#),
        get("/v2/team/tags/list").error(404, "NAME_UNKNOWN"),
    ]
}

fn manifests() -> Vec<Step> {
    let manifests = Manifests::new();
    let mut steps = Vec::new();
    for (name, digest, media_type, text, tags) in manifests.all() {
        for reference in tags.iter().copied().chain([digest.as_str()]) {
            let at = format!("/v2/{name}/manifests/{reference}");
            let found = |step: Step| {
                step.expect("content-type", media_type)
                    .expect("docker-content-digest", &digest)
                    .expect("content-length", text.len().to_string())
            };
            steps.extend([found(get(&at)).content(text.to_owned()), found(head(&at))]);
        }
    }
    let deleted = digest(manifests.deleted.as_bytes());
    for reference in ["old", "gone", &deleted] {
        let at = format!("/v2/app/manifests/{reference}");
        steps.extend([get(&at).error(404, "MANIFEST_UNKNOWN"), head(&at).status(404)]);
    }
    steps
}

fn referrers() -> Vec<Step> {
    let Manifests { first, second, artifact, .. } = Manifests::new();
    let (first, second) = (digest(first.as_bytes()), digest(second.as_bytes()));
    let (referrer, size) = (digest(artifact.as_bytes()), artifact.len());
    let index = |entries: &str| {
        format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{entries}]}}"#)
    };
    let entry = format!(
        r#"{{"mediaType":"{OCI_INDEX}","digest":"{referrer}","size":{size},"artifactType":"application/vnd.example.note","annotations":{{"note":"signed"}}}}"#
    );
    vec![
        get(format!("/v2/app/referrers/{first}")).content(index(&entry)),
        get(format!("/v2/app/referrers/{first}?artifactType=application/vnd.example.note"))
            .content(index(&entry)),
        get(format!("/v2/app/referrers/{first}?artifactType=a/b")).content(index("")),
        get(format!("/v2/app/referrers/{second}")).content(index("")),
        get(format!("/v2/team/tools/app/referrers/{first}")).content(index("")),
    ]
}

fn blobs() -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, blobs) in [
        ("app", &[CONFIG, FIRST_LAYER, SECOND_LAYER, ""][..]),
        ("team/tools/app", &[CONFIG, FIRST_LAYER]),
        ("layers", &[ONLY_LAYER]),
    ] {
        for &blob in blobs {
            let digest = digest(blob.as_bytes());
            let at = format!("/v2/{name}/blobs/{digest}");
            let found = |step: Step| {
                step.expect("docker-content-digest", &digest)
                    .expect("content-length", blob.len().to_string())
            };
            steps.extend([found(get(&at)).content(blob), found(head(&at))]);
        }
    }
    let at = format!("/v2/app/blobs/{}", digest_sha512(SHA512_BLOB.as_bytes()));
    steps.push(get(&at).content(SHA512_BLOB));
    steps.push(get(&at).header("range", "bytes=2-5").status(206).content("blob"));
    for (name, blob) in
        [("app", DELETED_BLOB), ("app", ONLY_LAYER), ("team/tools/app", SECOND_LAYER)]
    {
        let at = format!("/v2/{name}/blobs/{}", digest(blob.as_bytes()));
        steps.extend([get(&at).error(404, "BLOB_UNKNOWN"), head(&at).status(404)]);
    }
    steps
}

/// The unfinished upload goes on where it ended.
fn upload() -> Vec<Step> {
    let whole = format!("{UNFINISHED}upload, finished\n");
    let digest = digest(whole.as_bytes());
    vec![
        get(UNFINISHED_UPLOAD).status(204).expect("range", "0-10"),
        patch(UNFINISHED_UPLOAD)
            .header("content-range", "0-2")
            .body("no!")
            .error(416, "BLOB_UPLOAD_INVALID"),
        patch(UNFINISHED_UPLOAD)
            .header("content-range", "11-18")
            .body("upload, ")
            .status(202)
            .expect("range", "0-18"),
        put(format!("{{location}}{{&}}digest={digest}")).body("finished\n").status(201),
        get(format!("/v2/app/blobs/{digest}")).content(whole),
        get(UNFINISHED_UPLOAD).error(404, "BLOB_UPLOAD_UNKNOWN"),
    ]
}

/// Pushes and mounts by what is there.
fn writes() -> Vec<Step> {
    let Manifests { first, .. } = Manifests::new();
    let mount = |blob: &str, from: &str| {
        let digest = digest(blob.as_bytes());
        post(format!("/v2/new/blobs/uploads/?mount={digest}{from}"))
    };
    vec![
        mount(DELETED_BLOB, "").status(202),
        mount(ONLY_LAYER, "&from=app").status(202),
        mount(ONLY_LAYER, "").status(201),
        mount(FIRST_LAYER, "&from=team/tools/app").status(201),
        mount(CONFIG, "").status(201),
        put("/v2/new/manifests/v1")
            .header("content-type", OCI_MANIFEST)
            .body(first.clone())
            .status(201),
        get("/v2/new/manifests/v1").content(first),
        get("/v2/_catalog").content(r#"{"repositories":["app","new","team/tools/app"]}"#),
    ]
}

/// Deletes by tag and by digest.
fn deletes() -> Vec<Step> {
    let Manifests { first, artifact, .. } = Manifests::new();
    let (subject, referrer) = (digest(first.as_bytes()), digest(artifact.as_bytes()));
    let empty = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#);
    let layer = format!("/v2/app/blobs/{}", digest(FIRST_LAYER.as_bytes()));
    vec![
        delete("/v2/app/manifests/_hint-a").status(202),
        delete(format!("/v2/app/manifests/{subject}")).status(202),
        get("/v2/app/tags/list").content(r#"{"name":"app","tags":["index","latest","list"]}"#),
        get("/v2/app/manifests/_uploads").error(404, "MANIFEST_UNKNOWN"),
        get("/v2/team/tools/app/manifests/1.0").content(first),
        delete(format!("/v2/app/manifests/{referrer}")).status(202),
        get(format!("/v2/app/referrers/{subject}")).content(empty),
        delete(&layer).status(202),
        get(&layer).error(404, "BLOB_UNKNOWN"),
        get(format!("/v2/team/tools/app/blobs/{}", digest(FIRST_LAYER.as_bytes())))
            .content(FIRST_LAYER),
    ]
}

async fn check(target: &Target) {
    for steps in [lists(), manifests(), referrers(), blobs()] {
        run(target, &steps).await;
    }
    for steps in [upload(), writes(), deletes()] {
        run(target, &steps).await;
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            fs::copy(&path, &copied).unwrap();
        }
    }
}

/// A copy of the kept directory.
fn kept() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/directory-0.1");
    copy(&kept, &root.path().join("data"));
    root
}

#[tokio::test]
async fn natively() {
    let root = kept();
    check(&Target::native(&root.path().join("data"), &[DELETE]).unwrap()).await;
}

#[tokio::test]
async fn in_the_host() {
    let root = kept();
    let host = Registry::start(&root.path().join("data"), &[DELETE], &[]).unwrap();
    check(&Target::Process(host)).await;
}

#[tokio::test]
async fn under_wasmtime_serve() {
    let root = kept();
    match Wasmtime::start_with(&root.path().join("data"), &[DELETE]).unwrap() {
        Some(wasmtime) => check(&Target::Process(wasmtime)).await,
        None => drop(skip("under_wasmtime_serve", "wasmtime is neither $WASMTIME nor on the path")),
    }
}
