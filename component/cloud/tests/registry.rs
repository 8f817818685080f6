//! The requests to a bucket that a registry makes for clients' requests, counted.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use bytes::Bytes;
use http::{Request, Response};
use object_store::path::Path;
use roadstead_bridge::Services;
use roadstead_buckets::Backend;
use roadstead_cloud::{CloudStorage, Options};
use roadstead_config::Config;
use roadstead_kit::body::{MemoryBody, NativeBodies, NativeDownload};
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::contract::{Readable as _, sha256};
use roadstead_registry::{Body, Gate, Registry, Switches};

const MARKER: &str = "GET .roadstead/collect/condemned";

struct Counted {
    bucket: MemoryBucket,
    registry: Registry<CloudStorage<NativeBodies>>,
}

impl Counted {
    fn new(redirecting: bool) -> Self {
        let bucket = MemoryBucket::default();
        let backend = if redirecting { bucket.redirecting("") } else { bucket.backend("") };
        Self::of(bucket, backend)
    }

    /// Another instance over the same bucket.
    fn over(bucket: MemoryBucket) -> Self {
        let backend = bucket.backend("");
        Self::of(bucket, backend)
    }

    fn of(bucket: MemoryBucket, backend: Backend) -> Self {
        let options = Options { secret: Some(b"secret".to_vec()), ..Options::default() };
        let config = Config::from_variables(Vec::new()).unwrap();
        let gate = Gate::new(&config, Services::default(), None);
        let storage = CloudStorage::new(backend, options);
        Self { bucket, registry: Registry::new(storage, Switches::default(), gate) }
    }

    /// Sends a request, and returns the response and the requests to the bucket but
    /// one: the marker of garbage collection is asked for once in 10 minutes.
    async fn ask(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> (Response<Body<NativeDownload>>, Vec<String>) {
        let bytes = Bytes::copy_from_slice(body);
        let body = (!bytes.is_empty()).then_some(MemoryBody { bytes, aborted: false });
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/vnd.oci.image.manifest.v1+json");
        self.bucket.requests();
        let answer = self.registry.handle(request.body(body).unwrap()).await;
        let mut requests = self.bucket.requests();
        requests.retain(|request| request != MARKER);
        (answer, requests)
    }

    /// Sends a request, expects a status, and counts the requests to the bucket.
    async fn count(&self, method: &str, path: &str, body: &[u8], status: u16) -> usize {
        let (answer, requests) = self.ask(method, path, body).await;
        assert_eq!(answer.status(), status, "{method} {path}");
        requests.len()
    }

    /// Pushes a blob as Docker does.
    async fn push_blob(&self, name: &str, bytes: &[u8]) -> usize {
        let digest = sha256(bytes);
        let mut count = self.count("HEAD", &format!("/v2/{name}/blobs/{digest}"), b"", 404).await;
        let mut location = String::new();
        for (method, body, status) in
            [("POST", &b""[..], 202), ("PATCH", bytes, 202), ("PUT", b"", 201)]
        {
            let path = match method {
                "POST" => format!("/v2/{name}/blobs/uploads/"),
                "PUT" => {
                    let joint = if location.contains('?') { '&' } else { '?' };
                    format!("{location}{joint}digest={digest}")
                }
                _ => location.clone(),
            };
            let (answer, requests) = self.ask(method, &path, body).await;
            assert_eq!(answer.status(), status, "{method}");
            answer.headers()["location"].to_str().unwrap().clone_into(&mut location);
            count += requests.len();
        }
        count
    }

    /// Pushes an image as Docker does.
    async fn push_image(&self, name: &str, layers: usize) -> usize {
        let blobs: Vec<Vec<u8>> = (0..=layers).map(|i| format!("{name} {i}").into()).collect();
        let mut count = 0;
        for blob in &blobs {
            count += self.push_blob(name, blob).await;
        }
        let path = format!("/v2/{name}/manifests/latest");
        count + self.count("PUT", &path, manifest(&blobs).as_bytes(), 201).await
    }
}

fn manifest(blobs: &[Vec<u8>]) -> String {
    let descriptor = |blob: &Vec<u8>| {
        let digest = sha256(blob).to_string();
        let layer = "application/vnd.oci.image.layer.v1.tar";
        serde_json::json!({ "mediaType": layer, "digest": digest, "size": blob.len() })
    };
    let (config, layers) = blobs.split_first().unwrap();
    let layers: Vec<_> = layers.iter().map(descriptor).collect();
    serde_json::json!({ "schemaVersion": 2, "config": descriptor(config), "layers": layers })
        .to_string()
}

#[tokio::test]
async fn a_push_takes_few_requests() {
    let counted = Counted::new(false);
    for (layers, name) in [(1, "one"), (2, "two"), (5, "five"), (20, "twenty")] {
        let count = counted.push_image(name, layers).await;
        // Four for a blob: HEAD 1, POST 0, PATCH 2, PUT 1; nine for the
        // manifest, whatever it names: its layers, four writes, whether a
        // deletion goes on, and whether what was written is there, with the layers.
        assert_eq!(count, 4 * (layers + 1) + 9, "{layers} layers");
        assert!(count <= 6 * layers + 11, "{layers} layers: {count}");
    }
    let keys = counted.bucket.keys().await;
    assert!(!keys.iter().any(|key| key.contains("_hint-") || key.ends_with("media-type")));
}

/// The session is looked up for a client that does not send the receipt back, or
/// sends it too late.
#[tokio::test]
async fn an_upload_ends_without_a_receipt_too() {
    let counted = Counted::new(false);
    for (rest, most) in [("", 2), ("&receipt=1.0", 2), ("&receipt=", 2)] {
        let content = format!("content {rest}");
        let digest = sha256(content.as_bytes());
        let (answer, _) = counted.ask("POST", "/v2/a/blobs/uploads/", b"").await;
        let location = answer.headers()["location"].to_str().unwrap().to_owned();
        let (answer, _) = counted.ask("PATCH", &location, content.as_bytes()).await;
        let with = answer.headers()["location"].to_str().unwrap();
        assert!(with.starts_with(&format!("{location}?receipt=")), "{with}");
        let end = format!("{location}?digest={digest}{rest}");
        assert!(counted.count("PUT", &end, b"", 201).await <= most);
    }
}

#[tokio::test]
async fn a_pull_takes_few_requests() {
    let counted = Counted::new(false);
    counted.push_image("a", 1).await;
    let blobs = [b"a 0".to_vec(), b"a 1".to_vec()];
    let manifest = sha256(manifest(&blobs).as_bytes());
    let blob = sha256(&blobs[1]);
    for (method, path, status, most) in [
        ("GET", "/v2/a/manifests/latest".to_owned(), 200, 2),
        ("HEAD", "/v2/a/manifests/latest".to_owned(), 200, 2),
        ("GET", format!("/v2/a/manifests/{manifest}"), 200, 2),
        ("HEAD", format!("/v2/a/manifests/{manifest}"), 200, 2),
        ("GET", format!("/v2/a/blobs/{blob}"), 200, 2),
        ("HEAD", format!("/v2/a/blobs/{blob}"), 200, 2),
        ("HEAD", format!("/v2/b/blobs/{blob}"), 404, 1),
        ("GET", "/v2/a/manifests/none".to_owned(), 404, 1),
        ("GET", "/v2/a/tags/list".to_owned(), 200, 1),
        ("POST", format!("/v2/b/blobs/uploads/?mount={blob}&from=a"), 201, 3),
        ("GET", "/v2/_catalog".to_owned(), 200, 3),
        ("POST", format!("/v2/c/blobs/uploads/?mount={blob}"), 201, 3),
    ] {
        let count = counted.count(method, &path, b"", status).await;
        assert!(count <= most, "{method} {path}: {count}");
    }
}

/// The table of `docs/collection.md`: what is asked for besides, if nothing is
/// condemned, if something is, and if this blob is.
#[tokio::test]
async fn what_garbage_collection_costs() {
    let write = async |counted: &Counted, key: &str, value: &str| {
        counted.bucket.objects().put(&Path::from(key), value.to_owned().into()).await.unwrap();
    };
    let layer = b"layer".to_vec();
    let (digest, missing) = (sha256(&layer), sha256(b"missing"));
    let repositories = "docker/registry/v2/repositories";
    let hex = digest.encoded();
    let link = format!("{repositories}/a/_layers/sha256/{hex}/link");
    let moved = format!("{repositories}/a/_condemned/layers/sha256/{hex}/link");
    let tombstone = format!("docker/registry/v2/blobs/sha256/{}/{hex}/_condemned", &hex[..2]);
    let image = manifest(&[layer.clone(), layer.clone()]);
    let unknown = manifest(&[b"missing".to_vec(), layer.clone()]);
    for (marked, condemned) in [(false, false), (true, false), (true, true)] {
        let counted = Counted::new(false);
        counted.push_blob("a", &layer).await;
        let counted = if marked { Counted::over(counted.bucket) } else { counted };
        if marked {
            write(&counted, ".roadstead/collect/condemned", "").await;
        }
        let condemn = async || {
            if condemned {
                write(&counted, &tombstone, &format!("unlinked {:032x}", 7)).await;
                write(&counted, &moved, digest.as_str()).await;
                counted.bucket.objects().delete(&Path::from(link.as_str())).await.unwrap();
            }
        };
        let more = |something: usize, this: usize| match (marked, condemned) {
            (false, _) => 0,
            (true, false) => something,
            (true, true) => this,
        };
        let (a, b) = (format!("/v2/a/blobs/{digest}"), format!("/v2/b/blobs/{digest}"));
        assert_eq!(counted.count("GET", &b, b"", 404).await, 2 + 1, "a GET that finds no link");
        condemn().await;
        let (status, count) = if condemned { (404, 1) } else { (200, 2) };
        assert_eq!(counted.count("HEAD", &a, b"", status).await, count, "HEAD");
        // Opening the blob and its link, which is done again if it was restored.
        let restored = if condemned { 5 + 2 } else { 0 };
        assert_eq!(counted.count("GET", &a, b"", 200).await, 2 + restored, "GET");
        assert_eq!(counted.push_blob("c", &layer).await, 4 + more(1, 3), "an upload");
        let whole = format!("/v2/d/blobs/uploads/?digest={digest}");
        assert_eq!(counted.count("POST", &whole, &layer, 201).await, 2 + more(1, 3), "another");
        let mount = format!("/v2/b/blobs/uploads/?mount={digest}&from=a");
        assert_eq!(counted.count("POST", &mount, b"", 201).await, 3 + more(1, 3), "a mount");
        let mount = format!("/v2/e/blobs/uploads/?mount={digest}");
        assert_eq!(counted.count("POST", &mount, b"", 201).await, 3 + more(2, 4), "without from");
        let put = |tag: &str| format!("/v2/a/manifests/{tag}");
        assert_eq!(counted.count("PUT", &put("x"), image.as_bytes(), 201).await, 9 + more(1, 1));
        // A list, and two for the blob that is missing.
        assert_eq!(counted.count("PUT", &put("x"), unknown.as_bytes(), 400).await, 1 + 2);
        assert!(unknown.contains(missing.as_str()));
        condemn().await;
        let restored = if condemned { 2 * 5 } else { 0 };
        let count = counted.count("PUT", &put("y"), image.as_bytes(), 201).await;
        assert_eq!(count, 9 + more(1, 1) + restored, "the manifest names the blob twice");
        // Links of the repository were moved lately: it has looked for its blobs again anyway.
        let announced = format!("{repositories}/a/_deletions/collection/{:032x}/links", 7);
        write(&counted, &announced, "").await;
        let count = counted.count("PUT", &put("z"), image.as_bytes(), 201).await;
        assert_eq!(count, 9 + more(1, 1));
    }
}

/// Once, until it is too old.
#[tokio::test]
async fn the_marker_is_asked_for_once() {
    let counted = Counted::new(false);
    for (name, expected) in [("a", 1), ("b", 0)] {
        let path = format!("/v2/{name}/blobs/uploads/?digest={}", sha256(b"x"));
        let body = MemoryBody { bytes: Bytes::from_static(b"x"), aborted: false };
        let request = Request::post(path).body(Some(body)).unwrap();
        counted.bucket.requests();
        assert_eq!(counted.registry.handle(request).await.status(), 201);
        let requests = counted.bucket.requests();
        assert_eq!(requests.iter().filter(|request| *request == MARKER).count(), expected);
    }
}

#[tokio::test]
async fn a_push_in_one_request_takes_few_requests() {
    let counted = Counted::new(false);
    let path = format!("/v2/a/blobs/uploads/?digest={}", sha256(b"whole"));
    assert_eq!(counted.count("POST", &path, b"whole", 201).await, 2);
    let large = vec![7; 6 * 1024 * 1024];
    let path = format!("/v2/a/blobs/uploads/?digest={}", sha256(&large));
    // The parts are those of the blob itself: create, two parts, complete.
    assert_eq!(counted.count("POST", &path, &large, 201).await, 5);
}

#[tokio::test]
async fn clients_are_redirected_to_blobs() {
    let counted = Counted::new(true);
    counted.push_blob("a", b"layer").await;
    let digest = sha256(b"layer");
    for (path, range) in [
        (format!("/v2/a/blobs/{digest}"), None),
        (format!("/v2/a/blobs/{digest}"), Some("bytes=1-2")),
    ] {
        let mut request = Request::get(&path);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        counted.bucket.requests();
        let answer = counted.registry.handle(request.body(None).unwrap()).await;
        assert_eq!(answer.status(), 307);
        let hex = digest.encoded();
        let at = format!(
            "https://bucket.example/docker/registry/v2/blobs/sha256/{}/{hex}/data?seconds=1200",
            &hex[..2]
        );
        assert_eq!(answer.headers()["location"], at);
        assert_eq!(answer.headers()["docker-content-digest"], digest.as_str());
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(counted.bucket.requests().len(), 1);
    }
    assert_eq!(counted.count("HEAD", &format!("/v2/a/blobs/{digest}"), b"", 200).await, 2);
    // Not to a blob that the repository does not hold: a moved link is looked for.
    assert_eq!(counted.count("GET", &format!("/v2/b/blobs/{digest}"), b"", 404).await, 2);
    // Manifests are not redirected: the store does not know their media type.
    let manifest = manifest(&[b"layer".to_vec()]);
    assert_eq!(counted.ask("PUT", "/v2/a/manifests/x", manifest.as_bytes()).await.0.status(), 201);
    let (answer, _) = counted.ask("GET", "/v2/a/manifests/x", b"").await;
    assert_eq!(answer.status(), 200);
    let Body::Bytes(bytes) = answer.into_body() else { panic!("a manifest is at hand") };
    assert_eq!(bytes, manifest);
}

#[tokio::test]
async fn blobs_are_streamed() {
    let counted = Counted::new(false);
    counted.push_blob("a", b"layer").await;
    let path = format!("/v2/a/blobs/{}", sha256(b"layer"));
    let request = Request::get(&path).header("range", "bytes=1-2").body(None).unwrap();
    let answer = counted.registry.handle(request).await;
    assert_eq!(answer.status(), 206);
    assert_eq!(answer.headers()["content-range"], "bytes 1-2/5");
    let Body::Stream(stream) = answer.into_body() else { panic!("no stream") };
    assert_eq!(stream.read().await, "ay");
}

#[tokio::test]
async fn a_bucket_that_distribution_filled() {
    let docker = "application/vnd.docker.distribution.manifest.list.v2+json";
    let manifest = format!(r#"{{"schemaVersion":2,"mediaType":"{docker}","manifests":[]}}"#);
    let digest = sha256(manifest.as_bytes());
    let hex = digest.encoded();
    let counted = Counted::new(false);
    let manifests = "docker/registry/v2/repositories/library/old/_manifests";
    for (key, value) in [
        (format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]), manifest.as_str()),
        (format!("{manifests}/revisions/sha256/{hex}/link"), digest.as_str()),
        (format!("{manifests}/tags/v1/current/link"), digest.as_str()),
        (format!("{manifests}/tags/v1/index/sha256/{hex}/link"), digest.as_str()),
    ] {
        let key = Path::from(key);
        counted.bucket.objects().put(&key, value.to_owned().into()).await.unwrap();
    }
    for reference in ["v1", digest.as_str()] {
        for method in ["GET", "HEAD"] {
            let path = format!("/v2/library/old/manifests/{reference}");
            let (answer, requests) = counted.ask(method, &path, b"").await;
            assert_eq!(answer.headers()["content-type"], docker);
            assert_eq!(answer.headers()["docker-content-digest"], digest.as_str());
            assert_eq!(answer.headers()["content-length"], manifest.len().to_string());
            assert!(requests.len() <= 2, "{requests:?}");
        }
    }
    assert_eq!(counted.count("GET", "/v2/library/old/tags/list", b"", 200).await, 1);
}
