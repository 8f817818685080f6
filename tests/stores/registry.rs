//! The whole registry over a real object store: the component in its host, and
//! under `wasmtime serve`, signs requests to it.

use http::{Request, StatusCode};
use roadstead_tests::{
    Azurite, Garage, Gcs, Registry, Step, Target, Wasmtime, binary, delete, digest, get, head,
    patch, post, put, run, send, skip,
};
use std::process::Command;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The size in bytes of a blob that takes several parts.
const LARGE: usize = 23 * 1024 * 1024;

/// The host with its data in a store.
pub fn host(settings: &[(String, String)], more: &[(&str, &str)]) -> Registry {
    let usual = [
        ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
        ("REGISTRY_STORAGE_REDIRECT_DISABLE", "true"),
    ];
    Registry::start_over(settings, &[&usual, more].concat()).unwrap()
}

/// Bytes that differ between all blobs of a test.
pub fn blob(seed: u8, length: usize) -> Vec<u8> {
    // No two parts are equal, whose lengths are even.
    (0..=250).cycle().map(|byte: u8| byte ^ seed).take(length).collect()
}

/// An image with one layer.
pub fn manifest(blob: &[u8], config: &[u8]) -> String {
    let descriptor = |kind: &str, bytes: &[u8]| serde_json::json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() });
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", blob)],
    })
    .to_string()
}

/// Pushes in all the ways that clients use.
fn push(large: &[u8], config: &[u8]) -> Vec<Step> {
    let (one, two) = large.split_at(large.len() / 2 + 1);
    let bytes = "application/octet-stream";
    vec![
        get("/v2/").status(200),
        // In one request.
        post(format!("/v2/a/b/blobs/uploads/?digest={}", digest(config)))
            .header("content-type", bytes)
            .body(config.to_vec())
            .status(201),
        // In chunks.
        post("/v2/a/b/blobs/uploads/").status(202),
        patch("{location}")
            .header("content-type", bytes)
            .header("content-range", &format!("0-{}", one.len() - 1))
            .body(one.to_vec())
            .status(202)
            .expect("range", format!("0-{}", one.len() - 1)),
        get("{location}").status(204).expect("range", format!("0-{}", one.len() - 1)),
        put(format!("{{location}}{{&}}digest={}", digest(large)))
            .header("content-type", bytes)
            .body(two.to_vec())
            .status(201),
        // With a wrong digest.
        post("/v2/a/b/blobs/uploads/").status(202),
        put(format!("{{location}}{{&}}digest={}", digest(b"other")))
            .header("content-type", bytes)
            .body("content")
            .error(400, "DIGEST_INVALID"),
        put("/v2/a/b/manifests/v1")
            .header("content-type", MANIFEST)
            .body(manifest(large, config))
            .status(201),
    ]
}

fn pull(large: &[u8], config: &[u8]) -> Vec<Step> {
    let manifest = manifest(large, config);
    let of_manifest = digest(manifest.as_bytes());
    vec![
        get("/v2/a/b/manifests/v1")
            .expect("content-type", MANIFEST)
            .expect("docker-content-digest", of_manifest.clone())
            .content(manifest.clone()),
        head(format!("/v2/a/b/manifests/{of_manifest}")).status(200),
        get(format!("/v2/a/b/blobs/{}", digest(config))).content(config.to_vec()),
        get(format!("/v2/a/b/blobs/{}", digest(large))).content(large.to_vec()),
        get(format!("/v2/a/b/blobs/{}", digest(large)))
            .header("range", "bytes=6000000-6000009")
            .status(206)
            .content(large[6_000_000..6_000_010].to_vec()),
        get(format!("/v2/a/c/blobs/{}", digest(large))).error(404, "BLOB_UNKNOWN"),
        get("/v2/a/b/tags/list").content(r#"{"name":"a/b","tags":["v1"]}"#),
        get("/v2/_catalog").content(r#"{"repositories":["a/b"]}"#),
    ]
}

/// Pushes through one instance, pulls through another, and deletes.
async fn exercise(one: &Registry, other: &Registry) {
    let (large, config) = (blob(1, LARGE), blob(2, 1000));
    let at = |registry: &Registry| Target::Server(registry.address.clone());
    run(&at(one), &push(&large, &config)).await;
    run(&at(one), &pull(&large, &config)).await;
    run(&at(other), &pull(&large, &config)).await;
    let by_digest = format!("/v2/a/b/manifests/{}", digest(manifest(&large, &config).as_bytes()));
    let steps = [
        post(format!("/v2/a/c/blobs/uploads/?mount={}&from=a/b", digest(&large))).status(201),
        get(format!("/v2/a/c/blobs/{}", digest(&large))).content(large.clone()),
    ];
    run(&at(one), &steps).await;
    run(&at(other), &[get("/v2/a/b/manifests/v1"), get(&by_digest)]).await;
    let steps = [
        delete("/v2/a/b/manifests/v1").status(202),
        get("/v2/a/b/manifests/v1").error(404, "MANIFEST_UNKNOWN"),
        delete(&by_digest).status(202),
        delete(format!("/v2/a/b/blobs/{}", digest(&config))).status(202),
    ];
    run(&at(one), &steps).await;
    // At once, at every instance: nothing is cached that another can change.
    let gone = [
        get("/v2/a/b/manifests/v1").error(404, "MANIFEST_UNKNOWN"),
        get(&by_digest).error(404, "MANIFEST_UNKNOWN"),
        get(format!("/v2/a/b/blobs/{}", digest(&config))).error(404, "BLOB_UNKNOWN"),
    ];
    run(&at(other), &gone).await;
    run(&at(one), &gone).await;
}

#[tokio::test]
async fn over_garage() {
    let Some(garage) = Garage::start().unwrap() else {
        skip("registry::over_garage", "garage is not installed; run .ci/install-garage");
        return;
    };
    for (bucket, more) in [
        ("plain", &[][..]),
        (
            "settings",
            &[
                ("REGISTRY_STORAGE_S3_ROOTDIRECTORY", "some/where"),
                ("REGISTRY_STORAGE_S3_CHUNKSIZE", "5242880"),
                ("REGISTRY_STORAGE_S3_EQUALPARTS", "true"),
                ("REGISTRY_STORAGE_S3_CONDITIONALWRITES", "off"),
            ],
        ),
    ] {
        garage.bucket(bucket).unwrap();
        // Each through its own node.
        let one = host(&garage.settings(bucket, 0), more);
        let other = host(&garage.settings(bucket, 1), more);
        exercise(&one, &other).await;
    }
}

#[tokio::test]
async fn over_azurite() {
    let Some(azurite) = Azurite::start().unwrap() else {
        skip("registry::over_azurite", "Azurite is not installed; run .ci/install-azurite");
        return;
    };
    azurite.container("images").await.unwrap();
    let settings = azurite.settings("images");
    exercise(&host(&settings, &[]), &host(&settings, &[])).await;
}

#[tokio::test]
async fn over_gcs() {
    let gcs = Gcs::start().unwrap();
    let settings = gcs.settings("images");
    exercise(&host(&settings, &[]), &host(&settings, &[])).await;
}

/// The same component without the native host.
#[tokio::test]
async fn under_wasmtime() {
    let Some(garage) = Garage::start().unwrap() else {
        skip("registry::under_wasmtime", "garage is not installed; run .ci/install-garage");
        return;
    };
    garage.bucket("images").unwrap();
    let mut settings = garage.settings("images", 0);
    for name in ["DELETE_ENABLED", "REDIRECT_DISABLE"] {
        settings.push((format!("REGISTRY_STORAGE_{name}"), "true".to_owned()));
    }
    let settings: Vec<_> = settings.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let root = tempfile::tempdir().unwrap();
    let component = root.path().join("component.wasm");
    let Some(wasmtime) = Wasmtime::start_bare(&component, &settings).unwrap() else {
        skip("registry::under_wasmtime", "wasmtime is neither $WASMTIME nor on the PATH");
        return;
    };
    let other = host(&garage.settings("images", 1), &[]);
    exercise(&wasmtime, &other).await;
}

/// Clients are redirected to the store, and get their blobs.
#[tokio::test]
async fn clients_are_redirected() {
    let Some(garage) = Garage::start().unwrap() else {
        skip("registry::clients_are_redirected", "garage is not installed; run .ci/install-garage");
        return;
    };
    garage.bucket("images").unwrap();
    let settings = garage.settings("images", 0);
    let registry = host(&settings, &[("REGISTRY_STORAGE_REDIRECT_DISABLE", "false")]);
    let (large, config) = (blob(3, LARGE), blob(4, 1000));
    run(&Target::Server(registry.address.clone()), &push(&large, &config)).await;
    let path = format!("/v2/a/b/blobs/{}", digest(&large));
    let request = Request::get(path).body(Vec::new().into()).unwrap();
    let answer = send(&registry.address, request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    let location: http::Uri = answer.headers()["location"].to_str().unwrap().parse().unwrap();
    let request = Request::get(location.path_and_query().unwrap().as_str());
    let request = request.header("range", "bytes=5-9").body(Vec::new().into()).unwrap();
    let answer = send(location.authority().unwrap().as_str(), request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(answer.body(), &large[5..10]);
}

/// Errors of a store are reported at startup.
#[tokio::test]
async fn mistakes() {
    let Some(garage) = Garage::start().unwrap() else {
        skip("registry::mistakes", "garage is not installed; run .ci/install-garage");
        return;
    };
    garage.bucket("images").unwrap();
    for (name, value, expected) in [
        ("BUCKET", "nowhere", "cannot write to s3://nowhere"),
        ("SECRETKEY", "wrong", "cannot write to s3://images"),
        ("REGION", "elsewhere", "cannot write to s3://images"),
        ("REGIONENDPOINT", "http://127.0.0.1:1", "cannot reach the object store at http://127."),
        ("REGIONENDPOINT", "nonsense://", "must be a URL such as"),
        ("ROOTCERTBUNDLE", "/nowhere", "REGISTRY_STORAGE_S3_ROOTCERTBUNDLE"),
    ] {
        let output = Command::new(binary().unwrap())
            .arg("serve")
            .env("REGISTRY_HTTP_ADDR", "127.0.0.1:0")
            .envs(garage.settings("images", 0))
            .env(format!("REGISTRY_STORAGE_S3_{name}"), value)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(expected), "{name}: {said}");
        assert!(!said.contains("wrong") && !said.contains("b892c0665f0ada8a"), "{said}");
    }
}
