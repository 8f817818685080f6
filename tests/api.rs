//! The protocol, as tables of requests, against every form of the registry:
//! natively, over a directory and over a bucket; as the real component in the
//! real host; and as the same component under `wasmtime serve`.

use roadstead_tests::{
    Registry, Step, Target, delete, digest, digest_sha512, everywhere as with, get, head, patch,
    post, put, run,
};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Runs a table against a fresh registry of each form.
async fn everywhere(test: &str, steps: impl Fn() -> Vec<Step>) {
    with(test, &[], steps).await;
}

const DELETE: (&str, &str) = ("REGISTRY_STORAGE_DELETE_ENABLED", "true");

/// Pushes a blob in one request.
fn push(name: &str, blob: &[u8]) -> Step {
    post(format!("/v2/{name}/blobs/uploads/?digest={}", digest(blob)))
        .header("content-type", "application/octet-stream")
        .body(blob.to_vec())
        .status(201)
        .expect("location", format!("/v2/{name}/blobs/{}", digest(blob)))
}

fn image(config: &[u8], layers: &[&[u8]]) -> String {
    let descriptor = |media_type: &str, blob: &[u8]| serde_json::json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() });
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer))
        .collect();
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": layers,
    })
    .to_string()
}

fn put_manifest(name: &str, reference: &str, manifest: &str) -> Step {
    put(format!("/v2/{name}/manifests/{reference}"))
        .header("content-type", OCI_MANIFEST)
        .body(manifest.to_owned())
}

#[tokio::test]
async fn base_and_unknown_endpoints() {
    everywhere("base_and_unknown_endpoints", || {
        vec![
            get("/v2/").content("{}").expect("docker-distribution-api-version", "registry/2.0"),
            get("/v2").content("{}"),
            head("/v2/"),
            get("/"),
            get("/v3/").error(404, "UNSUPPORTED"),
            get("/v2/x").error(404, "UNSUPPORTED"),
            get("/v2/x/y").error(404, "UNSUPPORTED"),
            get("/v2//").error(404, "UNSUPPORTED"),
            post("/v2/").error(405, "UNSUPPORTED").expect("allow", "GET, HEAD"),
            delete("/v2/_catalog").error(405, "UNSUPPORTED").expect("allow", "GET"),
            get("/v2/a/blobs/uploads/").error(405, "UNSUPPORTED").expect("allow", "POST"),
            patch("/v2/a/manifests/b")
                .body("x")
                .error(405, "UNSUPPORTED")
                .expect("allow", "GET, HEAD, PUT, DELETE"),
        ]
    })
    .await;
}

#[tokio::test]
async fn what_is_not_valid_is_named() {
    everywhere("what_is_not_valid_is_named", || {
        let long = "a".repeat(256);
        let good = digest(b"x");
        vec![
            get("/v2/Upper/manifests/latest").error(400, "NAME_INVALID"),
            get("/v2/a..b/tags/list").error(400, "NAME_INVALID"),
            get("/v2/-a/tags/list").error(400, "NAME_INVALID"),
            get("/v2/a//b/tags/list").error(400, "NAME_INVALID"),
            get("/v2/../tags/list").error(400, "NAME_INVALID"),
            get("/v2/a%2f..%2fb/tags/list").error(400, "NAME_INVALID"),
            get("/v2/a%00b/tags/list").error(400, "NAME_INVALID"),
            get("/v2/%ff%fe/tags/list").error(400, "NAME_INVALID"),
            get(format!("/v2/{long}/tags/list")).error(400, "NAME_INVALID"),
            get("/v2/a/manifests/.hidden").error(400, "TAG_INVALID"),
            get(format!("/v2/a/manifests/{long}")).error(400, "TAG_INVALID"),
            get("/v2/a/manifests/sha256:xyz").error(400, "DIGEST_INVALID"),
            get("/v2/a/manifests/md5:d41d8cd98f00b204e9800998ecf8427e")
                .error(400, "DIGEST_INVALID"),
            get("/v2/a/blobs/latest").error(400, "DIGEST_INVALID"),
            get(format!("/v2/a/blobs/{}", good.to_uppercase())).error(400, "DIGEST_INVALID"),
            get("/v2/a/blobs/sha256:").error(400, "DIGEST_INVALID"),
            head("/v2/a/blobs/sha256:..%2f..").status(404),
            get("/v2/_catalog?n=-1").error(400, "PAGINATION_NUMBER_INVALID"),
            get("/v2/_catalog?n=many").error(400, "PAGINATION_NUMBER_INVALID"),
            post("/v2/a/blobs/uploads/?digest=nonsense").body("x").error(400, "DIGEST_INVALID"),
            post("/v2/a/blobs/uploads/?mount=nonsense&from=b").error(400, "DIGEST_INVALID"),
            post(format!("/v2/a/blobs/uploads/?mount={good}&from=B")).error(400, "NAME_INVALID"),
            patch("/v2/a/blobs/uploads/not-an-id").body("x").error(404, "BLOB_UPLOAD_UNKNOWN"),
            get("/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000")
                .error(404, "BLOB_UPLOAD_UNKNOWN"),
            put(format!("/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000?digest={good}"))
                .body("x")
                .error(404, "BLOB_UPLOAD_UNKNOWN"),
            patch("/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000")
                .body("x")
                .error(404, "BLOB_UPLOAD_UNKNOWN"),
            delete("/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000")
                .error(404, "BLOB_UPLOAD_UNKNOWN"),
        ]
    })
    .await;
}

#[tokio::test]
async fn blob_in_one_post() {
    everywhere("blob_in_one_post", || {
        let blob = b"0123456789";
        let at = format!("/v2/a/b/blobs/{}", digest(blob));
        vec![
            head(&at).status(404),
            get(&at).error(404, "BLOB_UNKNOWN"),
            push("a/b", blob).expect("docker-content-digest", digest(blob)),
            get(&at)
                .content("0123456789")
                .expect("content-length", "10")
                .expect("content-type", "application/octet-stream")
                .expect("accept-ranges", "bytes")
                .expect("docker-content-digest", digest(blob))
                .expect("etag", format!("\"{}\"", digest(blob)))
                .expect("x-content-type-options", "nosniff"),
            head(&at).expect("content-length", "10").expect("docker-content-digest", digest(blob)),
            // Another repository does not hold it.
            get(format!("/v2/c/blobs/{}", digest(blob))).error(404, "BLOB_UNKNOWN"),
            // The same blob again, and the empty one.
            push("a/b", blob),
            push("a/b", b""),
            get(format!("/v2/a/b/blobs/{EMPTY}")).content("").expect("content-length", "0"),
            get(format!("/v2/a/b/blobs/{EMPTY}")).header("range", "bytes=0-").content(""),
        ]
    })
    .await;
}

#[tokio::test]
async fn ranges_of_a_blob() {
    everywhere("ranges_of_a_blob", || {
        let blob = b"0123456789";
        let at = format!("/v2/a/blobs/{}", digest(blob));
        let part = |range: &str, content: &'static str, place: &str| {
            get(&at)
                .header("range", range)
                .status(206)
                .content(content)
                .expect("content-range", format!("bytes {place}/10"))
                .expect("content-length", content.len().to_string())
        };
        let beyond = |range: &str| {
            get(&at)
                .header("range", range)
                .error(416, "RANGE_INVALID")
                .expect("content-range", "bytes */10")
        };
        let whole = |range: &str| {
            get(&at).header("range", range).content("0123456789").expect_no("content-range")
        };
        vec![
            push("a", blob),
            part("bytes=2-4", "234", "2-4"),
            part("bytes=0-0", "0", "0-0"),
            part("bytes=7-", "789", "7-9"),
            part("bytes=-3", "789", "7-9"),
            part("bytes=-99", "0123456789", "0-9"),
            part("bytes=5-99", "56789", "5-9"),
            part("bytes=0-", "0123456789", "0-9"),
            beyond("bytes=10-"),
            beyond("bytes=10-12"),
            beyond("bytes=5-4"),
            beyond("bytes=-0"),
            whole("bytes=1-2,4-5"),
            whole("lines=1-2"),
            whole("bytes=x-y"),
        ]
    })
    .await;
}

#[tokio::test]
async fn upload_as_docker_does_it() {
    everywhere("upload_as_docker_does_it", || {
        let blob = vec![7_u8; 300_000];
        vec![
            post("/v2/a/blobs/uploads/").status(202).expect("range", "0-0"),
            get("{location}").status(204).expect("range", "0-0"),
            patch("{location}").body(blob.clone()).status(202).expect("range", "0-299999"),
            get("{location}").status(204).expect("range", "0-299999"),
            put(format!("{{location}}{{&}}digest={}", digest(&blob))).status(201),
            get("{location}").content(blob.clone()),
        ]
    })
    .await;
}

#[tokio::test]
async fn upload_in_the_closing_put() {
    everywhere("upload_in_the_closing_put", || {
        vec![
            post("/v2/a/blobs/uploads/").status(202),
            put("{location}").body("x").error(400, "DIGEST_INVALID"),
            put(format!("{{location}}{{&}}digest={}", digest(b"whole"))).body("whole").status(201),
            get("{location}").content("whole"),
            // An escaped digest, and the empty blob without any body.
            post("/v2/a/blobs/uploads/").status(202),
            put(format!("{{location}}{{&}}digest={}", EMPTY.replace(':', "%3A"))).status(201),
            get("{location}").content(""),
        ]
    })
    .await;
}

#[tokio::test]
async fn upload_in_chunks() {
    everywhere("upload_in_chunks", || {
        let late = |range: &str| {
            patch("{location}")
                .header("content-range", range)
                .body("xxxxx")
                .error(416, "BLOB_UPLOAD_INVALID")
                .expect("range", "0-4")
        };
        let whole = digest(b"0123456789abcde");
        vec![
            post("/v2/a/blobs/uploads/").status(202),
            patch("{location}")
                .header("content-range", "0-4")
                .body("01234")
                .status(202)
                .expect("range", "0-4"),
            late("0-4"),
            late("6-10"),
            late("bytes 99-103/*"),
            patch("{location}")
                .header("content-range", "5-8")
                .body("56789")
                .error(400, "SIZE_INVALID"),
            patch("{location}")
                .header("content-range", "9-5")
                .body("56789")
                .error(400, "BLOB_UPLOAD_INVALID"),
            patch("{location}")
                .header("content-range", "five")
                .body("56789")
                .error(400, "BLOB_UPLOAD_INVALID"),
            get("{location}").status(204).expect("range", "0-4"),
            patch("{location}")
                .header("content-range", "bytes 5-9/*")
                .body("56789")
                .status(202)
                .expect("range", "0-9"),
            put(format!("{{location}}{{&}}digest={whole}"))
                .header("content-range", "20-24")
                .body("abcde")
                .error(416, "BLOB_UPLOAD_INVALID")
                .expect("range", "0-9"),
            put(format!("{{location}}{{&}}digest={whole}"))
                .header("content-range", "10-14")
                .body("abcde")
                .status(201),
            get("{location}").content("0123456789abcde"),
        ]
    })
    .await;
}

#[tokio::test]
async fn upload_with_a_wrong_digest_leaves_nothing() {
    everywhere("upload_with_a_wrong_digest_leaves_nothing", || {
        let wrong = digest(b"other");
        let missing =
            || get(format!("/v2/a/blobs/{}", digest(b"other"))).error(404, "BLOB_UNKNOWN");
        vec![
            post(format!("/v2/a/blobs/uploads/?digest={wrong}"))
                .body("this")
                .error(400, "DIGEST_INVALID"),
            missing(),
            post("/v2/a/blobs/uploads/").status(202),
            patch("{location}").body("this").status(202),
            put(format!("{{location}}{{&}}digest={wrong}")).error(400, "DIGEST_INVALID"),
            missing(),
            get(format!("/v2/a/blobs/{}", digest(b"this"))).error(404, "BLOB_UNKNOWN"),
            get("{location}").error(404, "BLOB_UPLOAD_UNKNOWN"),
            get("/v2/_catalog").content(r#"{"repositories":[]}"#),
        ]
    })
    .await;
}

#[tokio::test]
async fn upload_cancelled_or_of_another_repository() {
    everywhere("upload_cancelled_or_of_another_repository", || {
        vec![
            post("/v2/a/blobs/uploads/").status(202),
            patch("{location}").body("this").status(202),
            // The same upload, as if it were one of the repository b/v2/a.
            get("/v2/b{location}").error(404, "BLOB_UPLOAD_UNKNOWN"),
            delete("{location}").status(204),
            get("{location}").error(404, "BLOB_UPLOAD_UNKNOWN"),
            delete("{location}").error(404, "BLOB_UPLOAD_UNKNOWN"),
        ]
    })
    .await;
}

#[tokio::test]
async fn mounts() {
    everywhere("mounts", || {
        let blob = digest(b"shared");
        vec![
            push("a", b"shared"),
            post(format!("/v2/b/blobs/uploads/?mount={blob}&from=a"))
                .status(201)
                .expect("location", format!("/v2/b/blobs/{blob}"))
                .expect("docker-content-digest", &blob),
            get(format!("/v2/b/blobs/{blob}")).content("shared"),
            // Where the blob is missing, a session begins.
            post(format!("/v2/c/blobs/uploads/?mount={blob}&from=nowhere"))
                .status(202)
                .expect("range", "0-0"),
            get(format!("/v2/c/blobs/{blob}")).error(404, "BLOB_UNKNOWN"),
            post(format!("/v2/c/blobs/uploads/?mount={}", digest(b"nowhere"))).status(202),
        ]
    })
    .await;
}

#[tokio::test]
async fn mounts_from_wherever_a_blob_is() {
    with("mounts_from_wherever_a_blob_is", &[], || {
        let blob = digest(b"shared");
        vec![
            push("a", b"shared"),
            post(format!("/v2/c/blobs/uploads/?mount={blob}"))
                .status(201)
                .expect("location", format!("/v2/c/blobs/{blob}")),
            get(format!("/v2/c/blobs/{blob}")).content("shared"),
        ]
    })
    .await;
}

#[tokio::test]
async fn manifest_of_an_image() {
    everywhere("manifest_of_an_image", || {
        let manifest = image(b"config", &[b"layer"]);
        let at = digest(manifest.as_bytes());
        let found = |step: Step| {
            step.expect("content-type", OCI_MANIFEST)
                .expect("docker-content-digest", &at)
                .expect("content-length", manifest.len().to_string())
                .expect("etag", format!("\"{at}\""))
        };
        vec![
            put_manifest("a", "v1", &manifest).error(400, "MANIFEST_BLOB_UNKNOWN"),
            get("/v2/a/manifests/v1").error(404, "MANIFEST_UNKNOWN"),
            push("a", b"config"),
            put_manifest("a", "v1", &manifest).error(400, "MANIFEST_BLOB_UNKNOWN"),
            push("a", b"layer"),
            put_manifest("a", "v1", &manifest)
                .status(201)
                .expect("location", format!("/v2/a/manifests/{at}"))
                .expect("docker-content-digest", &at),
            found(get("/v2/a/manifests/v1")).content(manifest.clone()),
            found(get(format!("/v2/a/manifests/{at}"))).content(manifest.clone()),
            found(head("/v2/a/manifests/v1")),
            found(head(format!("/v2/a/manifests/{at}"))),
            get("/v2/a/manifests/v2").error(404, "MANIFEST_UNKNOWN"),
            head("/v2/a/manifests/v2").status(404),
            get(format!("/v2/b/manifests/{at}")).error(404, "MANIFEST_UNKNOWN"),
            // By its digest, and by a digest that does not match.
            put_manifest("a", &at, &manifest).status(201),
            put_manifest("a", &digest(b"x"), &manifest).error(400, "DIGEST_INVALID"),
            // A manifest cannot be read as a blob of the repository.
            get(format!("/v2/a/blobs/{at}")).error(404, "BLOB_UNKNOWN"),
            get("/v2/_catalog").content(r#"{"repositories":["a"]}"#),
            get("/v2/a/tags/list").content(r#"{"name":"a","tags":["v1"]}"#),
        ]
    })
    .await;
}

#[tokio::test]
async fn media_types_are_kept_and_checked() {
    everywhere("media_types_are_kept_and_checked", || {
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        let typed = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#);
        let send = |reference: &str, media_type: &str, body: &str| {
            put(format!("/v2/a/manifests/{reference}"))
                .header("content-type", media_type)
                .body(body.to_owned())
        };
        vec![
            send("index", OCI_INDEX, index).status(201),
            get("/v2/a/manifests/index").expect("content-type", OCI_INDEX).content(index),
            send("other", "application/vnd.example+json", r#"{"x":1}"#).status(201),
            get("/v2/a/manifests/other").expect("content-type", "application/vnd.example+json"),
            put("/v2/a/manifests/bare").body(typed.clone()).status(201),
            get("/v2/a/manifests/bare").expect("content-type", OCI_INDEX),
            send("bad", OCI_MANIFEST, &typed).error(400, "MANIFEST_INVALID"),
            send("bad", OCI_MANIFEST, index).error(400, "MANIFEST_INVALID"),
            send("bad", "no media type", index).error(400, "MANIFEST_INVALID"),
            send("bad", OCI_INDEX, "{").error(400, "MANIFEST_INVALID"),
            send("bad", OCI_INDEX, "[]").error(400, "MANIFEST_INVALID"),
            send("bad", OCI_INDEX, r#"{"schemaVersion":1}"#).error(400, "MANIFEST_INVALID"),
            put("/v2/a/manifests/bad")
                .header("content-type", OCI_INDEX)
                .error(400, "MANIFEST_INVALID"),
            put("/v2/a/manifests/bad").body("{}").error(400, "MANIFEST_INVALID"),
            send(
                "bad",
                "application/vnd.docker.distribution.manifest.v1+prettyjws",
                r#"{"schemaVersion":1}"#,
            )
            .error(400, "MANIFEST_INVALID"),
            get("/v2/a/manifests/bad").error(404, "MANIFEST_UNKNOWN"),
            get("/v2/a/tags/list").content(r#"{"name":"a","tags":["bare","index","other"]}"#),
        ]
    })
    .await;
}

#[tokio::test]
async fn manifest_of_the_largest_size_and_one_byte_more() {
    everywhere("manifest_of_the_largest_size_and_one_byte_more", || {
        const LIMIT: usize = 4 * 1024 * 1024;
        let frame = r#"{"schemaVersion":2,"manifests":[],"annotations":{"a":""}}"#.len();
        let sized = |size: usize| {
            let padding = "x".repeat(size - frame);
            format!(r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"a":"{padding}"}}}}"#)
        };
        let send =
            |body: String| put("/v2/a/manifests/big").header("content-type", OCI_INDEX).body(body);
        vec![
            send(sized(LIMIT + 1)).error(413, "SIZE_INVALID"),
            send(sized(LIMIT * 2)).error(413, "SIZE_INVALID"),
            get("/v2/a/manifests/big").error(404, "MANIFEST_UNKNOWN"),
            send(sized(LIMIT)).status(201),
            get("/v2/a/manifests/big").content(sized(LIMIT)),
        ]
    })
    .await;
}

#[tokio::test]
async fn pages_of_tags_and_of_the_catalog() {
    everywhere("pages_of_tags_and_of_the_catalog", || {
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        let send = |name: &str, tag: &str| {
            put(format!("/v2/{name}/manifests/{tag}"))
                .header("content-type", OCI_INDEX)
                .body(index)
                .status(201)
        };
        let tags = |tags: &str| format!(r#"{{"name":"a","tags":[{tags}]}}"#);
        let names = |names: &str| format!(r#"{{"repositories":[{names}]}}"#);
        vec![
            get("/v2/_catalog").content(names("")),
            get("/v2/a/tags/list").error(404, "NAME_UNKNOWN"),
            send("a", "c"),
            send("a", "B"),
            send("a", "a"),
            send("a/b", "x"),
            send("a-b", "x"),
            get("/v2/a/tags/list").content(tags(r#""B","a","c""#)).expect_no("link"),
            get("/v2/a/tags/list?n=2")
                .content(tags(r#""B","a""#))
                .expect("link", r#"</v2/a/tags/list?n=2&last=a>; rel="next""#),
            get("/v2/a/tags/list?n=2&last=a").content(tags(r#""c""#)).expect_no("link"),
            get("/v2/a/tags/list?n=3").expect_no("link"),
            get("/v2/a/tags/list?last=b").content(tags(r#""c""#)),
            get("/v2/a/tags/list?n=0").content(tags("")).expect_no("link"),
            get("/v2/a/tags/list?last=zzz").content(tags("")),
            get("/v2/a/tags/list?n=99999999999999999999").content(tags(r#""B","a","c""#)),
            get("/v2/_catalog").content(names(r#""a","a-b","a/b""#)),
            get("/v2/_catalog?n=1")
                .content(names(r#""a""#))
                .expect("link", r#"</v2/_catalog?n=1&last=a>; rel="next""#),
            get("/v2/_catalog?n=1&last=a-b").content(names(r#""a/b""#)).expect_no("link"),
        ]
    })
    .await;
}

#[tokio::test]
async fn text_that_headers_do_not_take() {
    everywhere("text_that_headers_do_not_take", || {
        // Values of this size are passed between component and host in headers.
        let deleted = "\u{7f}".repeat(1024);
        let controls = "\u{1}".repeat(1024);
        let long = "%01".repeat(20_000);
        let empty = r#"{"repositories":[]}"#;
        vec![
            get("/v2/_catalog?last=%7f").content(empty),
            get("/v2/_catalog?last=%F0%9F%9A%A2%0d%0a").content(empty),
            get(format!("/v2/_catalog?last={long}")).content(empty),
            push("a", deleted.as_bytes()),
            get("{location}").content(deleted.clone()),
            push("a", controls.as_bytes()),
            get("{location}").content(controls.clone()),
        ]
    })
    .await;
}

#[tokio::test]
async fn conditional_requests() {
    everywhere("conditional_requests", || {
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        let (at, blob) = (digest(index.as_bytes()), digest(b"blob"));
        let unchanged = |step: Step, held: &str| {
            step.header("if-none-match", held).status(304).content("").expect_no("content-type")
        };
        let tag = "/v2/a/manifests/t";
        vec![
            put(tag).header("content-type", OCI_INDEX).body(index).status(201),
            push("a", b"blob"),
            get(tag).expect("cache-control", "no-cache"),
            get(format!("/v2/a/manifests/{at}"))
                .expect("cache-control", "max-age=31536000, immutable"),
            get(format!("/v2/a/blobs/{blob}"))
                .expect("cache-control", "max-age=31536000, immutable"),
            unchanged(get(tag), &format!("\"{at}\"")).expect("docker-content-digest", &at),
            unchanged(head(tag), &format!("W/\"x\", W/\"{at}\""))
                .expect("cache-control", "no-cache"),
            unchanged(get(format!("/v2/a/blobs/{blob}")), "*")
                .expect("etag", format!("\"{blob}\"")),
            get(tag).header("if-none-match", "\"other\"").content(index),
            get("/v2/a/manifests/u").header("if-none-match", "*").error(404, "MANIFEST_UNKNOWN"),
        ]
    })
    .await;
}

#[tokio::test]
async fn deletes() {
    with("deletes", &[DELETE], || {
        let manifest = image(b"config", &[b"layer"]);
        let at = digest(manifest.as_bytes());
        let by_digest = || format!("/v2/a/manifests/{at}");
        let blob = format!("/v2/a/blobs/{}", digest(b"layer"));
        let tags = |tags: &str| format!(r#"{{"name":"a","tags":[{tags}]}}"#);
        vec![
            push("a", b"config"),
            push("a", b"layer"),
            push("b", b"layer"),
            put_manifest("a", "v1", &manifest).status(201),
            put_manifest("a", "v2", &manifest).status(201),
            put_manifest("a", "v3", &manifest).status(201),
            // A tag: the manifest and the other tags stay.
            delete("/v2/a/manifests/v1").status(202),
            get("/v2/a/manifests/v1").error(404, "MANIFEST_UNKNOWN"),
            delete("/v2/a/manifests/v1").error(404, "MANIFEST_UNKNOWN"),
            get("/v2/a/tags/list").content(tags(r#""v2","v3""#)),
            get(by_digest()).content(manifest.clone()),
            // The manifest: its tags go with it.
            delete(by_digest()).status(202),
            get(by_digest()).error(404, "MANIFEST_UNKNOWN"),
            get("/v2/a/manifests/v2").error(404, "MANIFEST_UNKNOWN"),
            get("/v2/a/tags/list").content(tags("")),
            delete(by_digest()).error(404, "MANIFEST_UNKNOWN"),
            // A blob: from this repository only.
            delete(&blob).status(202),
            get(&blob).error(404, "BLOB_UNKNOWN"),
            head(&blob).status(404),
            delete(&blob).error(404, "BLOB_UNKNOWN"),
            get(format!("/v2/b/blobs/{}", digest(b"layer"))).content("layer"),
            // The same deletes again.
            put_manifest("a", "v1", &manifest).error(400, "MANIFEST_BLOB_UNKNOWN"),
            push("a", b"layer"),
            put_manifest("a", "v1", &manifest).status(201),
            get("/v2/a/tags/list").content(tags(r#""v1""#)),
            // A blob that no repository holds any more cannot be mounted.
            delete(&blob).status(202),
            delete(format!("/v2/b/blobs/{}", digest(b"layer"))).status(202),
            post(format!("/v2/c/blobs/uploads/?mount={}", digest(b"layer"))).status(202),
        ]
    })
    .await;
}

#[tokio::test]
async fn what_the_operator_forbids() {
    everywhere("deletes are off", || {
        let off = |step: Step| step.error(405, "UNSUPPORTED").expect("allow", "GET, HEAD");
        vec![
            push("a", b"x"),
            off(delete(format!("/v2/a/blobs/{}", digest(b"x")))),
            off(delete("/v2/a/manifests/latest")),
            get(format!("/v2/a/blobs/{}", digest(b"x"))).content("x"),
        ]
    })
    .await;
    let read_only = ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true");
    with("read-only", &[read_only, DELETE], || {
        let off = |step: Step| step.error(405, "UNSUPPORTED");
        vec![
            get("/v2/"),
            off(post("/v2/a/blobs/uploads/")),
            off(patch("/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000").body("x")),
            off(put("/v2/a/manifests/t").body("{}")),
            off(delete("/v2/a/manifests/t")),
            get("/v2/a/manifests/t").error(404, "MANIFEST_UNKNOWN"),
        ]
    })
    .await;
    let notice = ("REGISTRY_HTTP_WARNING", "moving to registry.example on Friday");
    with("a notice", &[notice], || {
        let warning = r#"299 - "moving to registry.example on Friday""#;
        vec![
            get("/v2/").expect("warning", warning),
            get("/v2/a/tags/list").error(404, "NAME_UNKNOWN").expect("warning", warning),
        ]
    })
    .await;
    let sparse = ("REGISTRY_VALIDATION_MANIFESTS_SPARSE", "true");
    with("sparse images", &[sparse], || {
        vec![put_manifest("a", "t", &image(b"config", &[b"layer"])).status(201)]
    })
    .await;
}

#[tokio::test]
async fn tags_by_parameter_and_sha512() {
    everywhere("tags_by_parameter_and_sha512", || {
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        let (at, blob) = (digest_sha512(index.as_bytes()), digest_sha512(b"blob"));
        let many = "&tag=x".repeat(100);
        vec![
            put(format!("/v2/a/manifests/{at}?tag=one&tag=two"))
                .header("content-type", OCI_INDEX)
                .body(index)
                .status(201)
                .expect("oci-tag", "one")
                .expect("docker-content-digest", &at),
            get("/v2/a/manifests/one").content(index).expect("docker-content-digest", &at),
            get("/v2/a/manifests/two").content(index).expect("docker-content-digest", &at),
            get(format!("/v2/a/manifests/{at}")).content(index),
            put(format!("/v2/a/manifests/{at}?tag=.bad"))
                .header("content-type", OCI_INDEX)
                .body(index)
                .error(400, "TAG_INVALID"),
            put(format!("/v2/a/manifests/{at}?tag=x{many}"))
                .header("content-type", OCI_INDEX)
                .body(index)
                .error(414, "TAG_INVALID"),
            post("/v2/a/blobs/uploads/?digest-algorithm=md5").error(400, "DIGEST_INVALID"),
            post("/v2/a/blobs/uploads/?digest-algorithm=sha512").status(202),
            patch("{location}").body("blob").status(202),
            put(format!("{{location}}{{&}}digest={blob}")).status(201),
            get(format!("/v2/a/blobs/{blob}")).content("blob"),
            post(format!("/v2/a/blobs/uploads/?digest={blob}"))
                .body("blub")
                .error(400, "DIGEST_INVALID"),
        ]
    })
    .await;
}

#[tokio::test]
async fn referrers() {
    with("referrers", &[DELETE], || {
        let subject = digest(b"subject");
        let refer = |kind: &str, note: &str| {
            serde_json::json!({
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "artifactType": kind,
                "manifests": [],
                "subject": { "mediaType": OCI_MANIFEST, "digest": subject, "size": 7 },
                "annotations": { "note": note },
            })
            .to_string()
        };
        let entry = |kind: &str, note: &str| {
            let manifest = refer(kind, note);
            let at = digest(manifest.as_bytes());
            format!(
                r#"{{"mediaType":"{OCI_INDEX}","digest":"{at}","size":{},"artifactType":"{kind}","annotations":{{"note":"{note}"}}}}"#,
                manifest.len()
            )
        };
        let (one, two) = (("application/one", "1"), ("application/two", "2"));
        let place = |e: (&str, &str)| digest(refer(e.0, e.1).as_bytes());
        let (first, second) = if place(one) < place(two) { (one, two) } else { (two, one) };
        let index = |entries: &str| {
            format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{entries}]}}"#)
        };
        let list = format!("/v2/a/referrers/{subject}");
        let push_referrer = |e: (&str, &str)| {
            put(format!("/v2/a/manifests/{}", place(e)))
                .header("content-type", OCI_INDEX)
                .body(refer(e.0, e.1))
                .status(201)
                .expect("oci-subject", &subject)
        };
        let after = place(first).replace(':', "-");
        vec![
            get(&list).expect("content-type", OCI_INDEX).content(index("")),
            push_referrer(one),
            push_referrer(two),
            get(&list).expect("content-type", OCI_INDEX).expect_no("oci-filters-applied").content(
                index(&format!("{},{}", entry(first.0, first.1), entry(second.0, second.1))),
            ),
            get(format!("{list}?artifactType=application/two"))
                .expect("oci-filters-applied", "artifactType")
                .content(index(&entry(two.0, two.1))),
            get(format!("{list}?artifactType=none")).content(index("")),
            get(format!("{list}?n=1"))
                .content(index(&entry(first.0, first.1)))
                .expect("link", format!("<{list}?n=1&last={after}>; rel=\"next\"")),
            get(format!("{list}?n=1&last={after}"))
                .content(index(&entry(second.0, second.1)))
                .expect_no("link"),
            get(format!("/v2/b/referrers/{subject}")).content(index("")),
            get("/v2/a/referrers/nonsense").error(400, "DIGEST_INVALID"),
            delete(format!("/v2/a/manifests/{}", place(one))).status(202),
            get(&list).content(index(&entry(two.0, two.1))),
        ]
    })
    .await;
}

#[tokio::test]
async fn referrers_that_another_registry_pushed() {
    let subject = digest(b"subject");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[],"subject":{{"mediaType":"{OCI_MANIFEST}","digest":"{subject}","size":7}}}}"#
    );
    let root = tempfile::tempdir().unwrap();
    let hex = digest(manifest.as_bytes())["sha256:".len()..].to_owned();
    for (path, bytes) in [
        (format!("blobs/sha256/{}/{hex}/data", &hex[..2]), manifest.clone()),
        (format!("repositories/a/_manifests/revisions/sha256/{hex}/link"), format!("sha256:{hex}")),
    ] {
        let path = root.path().join("docker/registry/v2").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let entry = format!(
        r#"{{"mediaType":"{OCI_INDEX}","digest":"sha256:{hex}","size":{}}}"#,
        manifest.len()
    );
    let steps = [get(format!("/v2/a/referrers/{subject}")).content(format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{entry}]}}"#
    ))];
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    run(&Target::Server(host.address.clone()), &steps).await;
    run(&Target::Server(host.address.clone()), &steps).await;
}

#[tokio::test]
async fn a_registry_that_distribution_filled() {
    // As registry:2 writes it: no `media-type` files.
    let manifest = r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[]}"#;
    let docker = "application/vnd.docker.distribution.manifest.list.v2+json";
    let hex = digest(manifest.as_bytes())["sha256:".len()..].to_owned();
    let root = tempfile::tempdir().unwrap();
    let write = |path: String, bytes: &str| {
        let path = root.path().join("docker/registry/v2").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let link = format!("sha256:{hex}");
    let manifests = "repositories/library/old/_manifests";
    write(format!("blobs/sha256/{}/{hex}/data", &hex[..2]), manifest);
    write(format!("{manifests}/revisions/sha256/{hex}/link"), &link);
    write(format!("{manifests}/tags/v1/current/link"), &link);
    write(format!("{manifests}/tags/v1/index/sha256/{hex}/link"), &link);
    let steps = [
        get("/v2/_catalog").content(r#"{"repositories":["library/old"]}"#),
        get("/v2/library/old/tags/list").content(r#"{"name":"library/old","tags":["v1"]}"#),
        get("/v2/library/old/manifests/v1").expect("content-type", docker).content(manifest),
        head(format!("/v2/library/old/manifests/{link}")).expect("content-type", docker),
    ];
    run(&Target::native(root.path(), &[]).unwrap(), &steps).await;
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    run(&Target::Server(host.address.clone()), &steps).await;
}
