//! Manifests: pushes, pulls, media types, conditions.

use super::{
    OCI_INDEX, OCI_MANIFEST, Step, Table, digest, digest_sha512, get, head, image, patch, post,
    push, put, put_manifest,
};

pub(super) fn manifest_of_an_image() -> Table {
    let manifest = image(b"config", &[b"layer"]);
    let at = digest(manifest.as_bytes());
    let found = |step: Step| {
        step.expect("content-type", OCI_MANIFEST)
            .expect("docker-content-digest", &at)
            .expect("content-length", manifest.len().to_string())
            .expect("etag", format!("\"{at}\""))
    };
    Table::new(vec![
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
        // By digest, and by a digest that it does not have.
        put_manifest("a", &at, &manifest).status(201),
        put_manifest("a", &digest(b"x"), &manifest).error(400, "DIGEST_INVALID"),
        // A manifest is not a blob of the repository.
        get(format!("/v2/a/blobs/{at}")).error(404, "BLOB_UNKNOWN"),
        get("/v2/_catalog").content(r#"{"repositories":["a"]}"#),
        get("/v2/a/tags/list").content(r#"{"name":"a","tags":["v1"]}"#),
    ])
}

pub(super) fn media_types_are_kept_and_checked() -> Table {
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    let typed = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#);
    let send = |reference: &str, media_type: &str, body: &str| {
        put(format!("/v2/a/manifests/{reference}"))
            .header("content-type", media_type)
            .body(body.to_owned())
    };
    Table::new(vec![
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
        put("/v2/a/manifests/bad").header("content-type", OCI_INDEX).error(400, "MANIFEST_INVALID"),
        put("/v2/a/manifests/bad").body("{}").error(400, "MANIFEST_INVALID"),
        send(
            "bad",
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            r#"{"schemaVersion":1}"#,
        )
        .error(400, "MANIFEST_INVALID"),
        get("/v2/a/manifests/bad").error(404, "MANIFEST_UNKNOWN"),
        get("/v2/a/tags/list").content(r#"{"name":"a","tags":["bare","index","other"]}"#),
    ])
}

pub(super) fn manifest_of_the_largest_size_and_one_byte_more() -> Table {
    const LIMIT: usize = 4 * 1024 * 1024;
    let frame = r#"{"schemaVersion":2,"manifests":[],"annotations":{"a":""}}"#.len();
    let sized = |size: usize| {
        let padding = "x".repeat(size - frame);
        format!(r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"a":"{padding}"}}}}"#)
    };
    let send =
        |body: String| put("/v2/a/manifests/big").header("content-type", OCI_INDEX).body(body);
    Table::new(vec![
        send(sized(LIMIT + 1)).error(413, "SIZE_INVALID"),
        send(sized(LIMIT * 2)).error(413, "SIZE_INVALID"),
        get("/v2/a/manifests/big").error(404, "MANIFEST_UNKNOWN"),
        send(sized(LIMIT)).status(201),
        get("/v2/a/manifests/big").content(sized(LIMIT)),
    ])
}

pub(super) fn tags_by_parameter_and_sha512() -> Table {
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    let (at, blob) = (digest_sha512(index.as_bytes()), digest_sha512(b"blob"));
    let many = "&tag=x".repeat(100);
    Table::new(vec![
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
    ])
}

pub(super) fn conditional_requests() -> Table {
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    let (at, blob) = (digest(index.as_bytes()), digest(b"blob"));
    let unchanged = |step: Step, held: &str| {
        step.header("if-none-match", held).status(304).content("").expect_no("content-type")
    };
    let tag = "/v2/a/manifests/t";
    Table::new(vec![
        put(tag).header("content-type", OCI_INDEX).body(index).status(201),
        push("a", b"blob"),
        get(tag).expect("cache-control", "no-cache"),
        get(format!("/v2/a/manifests/{at}")).expect("cache-control", "max-age=31536000, immutable"),
        get(format!("/v2/a/blobs/{blob}")).expect("cache-control", "max-age=31536000, immutable"),
        unchanged(get(tag), &format!("\"{at}\"")).expect("docker-content-digest", &at),
        unchanged(head(tag), &format!("W/\"x\", W/\"{at}\"")).expect("cache-control", "no-cache"),
        unchanged(get(format!("/v2/a/blobs/{blob}")), "*").expect("etag", format!("\"{blob}\"")),
        get(tag).header("if-none-match", "\"other\"").content(index),
        get("/v2/a/manifests/u").header("if-none-match", "*").error(404, "MANIFEST_UNKNOWN"),
    ])
}
