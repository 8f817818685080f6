//! Manifests: pushes, pulls, media types, conditions.

use super::{
    INERT, OCI_INDEX, OCI_MANIFEST, Step, Table, digest, digest_sha512, get, head, image, patch,
    post, push, put, put_manifest,
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

/// No manifest is a page, an image or a script, and a browser runs nothing of what
/// was stored, whichever part of the registry responds.
pub(super) fn content_is_inert_in_browsers() -> Table {
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    let page = r#"{"mediaType":"text/html","x":"<script>alert(1)</script>"}"#;
    let inert = |step: Step| {
        step.expect("content-security-policy", INERT).expect("x-content-type-options", "nosniff")
    };
    let (at, blob) = (digest(index.as_bytes()), digest(b"<script>alert(1)</script>"));
    let mut steps = vec![put("/v2/a/manifests/page").body(page).error(400, "MANIFEST_INVALID")];
    for media_type in [
        "text/html",
        "Text/HTML; charset=utf-8",
        "text/plain",
        "text/json",
        "application/xhtml+xml",
        "application/xml",
        "application/javascript",
        "application/octet-stream",
        "application/pdf",
        "image/svg+xml",
        "multipart/related",
    ] {
        let step = put("/v2/a/manifests/page").header("content-type", media_type);
        steps.push(step.body(r#"{"x":1}"#).error(400, "MANIFEST_INVALID"));
    }
    steps.push(get("/v2/a/manifests/page").error(404, "MANIFEST_UNKNOWN"));
    for media_type in ["application/json", "application/vnd.example.v1+json"] {
        let step = put("/v2/a/manifests/json").header("content-type", media_type);
        steps.push(step.body(format!(r#"{{"mediaType":"{media_type}"}}"#)).status(201));
    }
    steps.push(put("/v2/a/manifests/t").header("content-type", OCI_INDEX).body(index).status(201));
    steps.push(push("a", b"<script>alert(1)</script>"));
    // The second response may be from a cache.
    for _ in 0..2 {
        for path in [
            "/v2/a/manifests/t".to_owned(),
            format!("/v2/a/manifests/{at}"),
            format!("/v2/a/blobs/{blob}"),
            format!("/v2/a/referrers/{at}"),
            "/v2/a/tags/list".to_owned(),
        ] {
            steps.push(inert(get(&path)));
        }
        for path in [format!("/v2/a/manifests/{at}"), format!("/v2/a/blobs/{blob}")] {
            steps.push(inert(head(&path)));
            steps.push(inert(get(&path).header("if-none-match", "*").status(304)));
        }
        let part = get(format!("/v2/a/blobs/{blob}")).header("range", "bytes=0-7");
        steps.push(inert(part.status(206).content("<script>")));
    }
    steps.push(inert(get("/v2/a/manifests/%3Cscript%3E").error(400, "TAG_INVALID")));
    Table::new(steps)
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
