//! Deletes of tags, manifests and blobs.

use super::{
    DELETE, EMPTY, OCI_INDEX, OCI_MANIFEST, Step, Table, delete, digest, get, head, image, patch,
    post, push, put, put_manifest,
};

pub(super) fn deletes() -> Table {
    let manifest = image(b"config", &[b"layer"]);
    let at = digest(manifest.as_bytes());
    let by_digest = || format!("/v2/a/manifests/{at}");
    let blob = format!("/v2/a/blobs/{}", digest(b"layer"));
    let tags = |tags: &str| format!(r#"{{"name":"a","tags":[{tags}]}}"#);
    Table::with(
        &[DELETE],
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
            // All of it once more.
            put_manifest("a", "v1", &manifest).error(400, "MANIFEST_BLOB_UNKNOWN"),
            push("a", b"layer"),
            put_manifest("a", "v1", &manifest).status(201),
            get("/v2/a/tags/list").content(tags(r#""v1""#)),
            // A blob that no repository holds any longer cannot be mounted.
            delete(&blob).status(202),
            delete(format!("/v2/b/blobs/{}", digest(b"layer"))).status(202),
            post(format!("/v2/c/blobs/uploads/?mount={}", digest(b"layer"))).status(202),
        ],
    )
}

/// Deletes a whole repository.
fn delete_repository(name: &str) -> Step {
    delete(format!("/v2/{name}/_roadstead/repository"))
}

/// All that was deleted, by one request.
fn complete(name: &str, [tags, manifests, blobs, objects]: [usize; 4]) -> Step {
    let body = serde_json::json!({
        "name": name,
        "complete": true,
        "tags": tags,
        "manifests": manifests,
        "blobs": blobs,
        "objects": objects,
    });
    delete_repository(name).status(202).content(body.to_string()).expect_no("retry-after")
}

/// A repository with all that it holds, and nothing of those beside and below it.
pub(super) fn a_repository() -> Table {
    let (one, two) = (image(b"config", &[b"layer"]), image(b"config", &[]));
    let at = |manifest: &str| digest(manifest.as_bytes());
    let referrer = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [],
        "subject": { "mediaType": OCI_MANIFEST, "digest": at(&one), "size": one.len() },
    });
    let referrer = referrer.to_string();
    let referrers = format!("/v2/a/b/referrers/{}", at(&one));
    let nothing = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#);
    let mut steps = Vec::new();
    for name in ["a", "a/b", "a/b/c"] {
        steps.extend([push(name, b"config"), push(name, b"layer")]);
        steps.push(put_manifest(name, "v1", &one).status(201));
    }
    steps.extend([
        // A tag that has moved, and a manifest without one.
        put_manifest("a/b", "v1", &two).status(201),
        put_manifest("a/b", "v2", &one).status(201),
        put(format!("/v2/a/b/manifests/{}", at(&referrer)))
            .header("content-type", OCI_INDEX)
            .body(referrer.clone())
            .status(201),
        get("/v2/_catalog").content(r#"{"repositories":["a","a/b","a/b/c"]}"#),
        get("/v2/a/b/_roadstead/repository").error(405, "UNSUPPORTED").expect("allow", "DELETE"),
        // What the tags once led to is counted among the objects.
        complete("a/b", [2, 3, 2, 10]),
        // All of it is gone,
        get("/v2/_catalog").content(r#"{"repositories":["a","a/b/c"]}"#),
        get("/v2/a/b/tags/list").error(404, "NAME_UNKNOWN"),
        get("/v2/a/b/manifests/v1").error(404, "MANIFEST_UNKNOWN"),
        get(format!("/v2/a/b/manifests/{}", at(&one))).error(404, "MANIFEST_UNKNOWN"),
        get(format!("/v2/a/b/blobs/{}", digest(b"layer"))).error(404, "BLOB_UNKNOWN"),
        get(&referrers).content(nothing),
        delete_repository("a/b").error(404, "NAME_UNKNOWN"),
        // and nothing else.
        get("/v2/a/manifests/v1").content(one.clone()),
        get("/v2/a/b/c/manifests/v1").content(one.clone()),
        get(format!("/v2/a/b/c/blobs/{}", digest(b"layer"))).content("layer"),
        // It can be pushed again.
        put_manifest("a/b", "v1", &one).error(400, "MANIFEST_BLOB_UNKNOWN"),
        push("a/b", b"config"),
        push("a/b", b"layer"),
        put_manifest("a/b", "v1", &one).status(201),
        get("/v2/a/b/tags/list").content(r#"{"name":"a/b","tags":["v1"]}"#),
        complete("a/b", [1, 1, 2, 5]),
        delete_repository("none").error(404, "NAME_UNKNOWN"),
        delete_repository("A").error(400, "NAME_INVALID"),
    ]);
    Table::with(&[DELETE], steps)
}

/// A blob alone; and an upload, which goes on.
pub(super) fn a_repository_that_holds_little() -> Table {
    Table::with(
        &[DELETE],
        vec![
            push("a", b""),
            get("/v2/_catalog").content(r#"{"repositories":[]}"#),
            complete("a", [0, 0, 1, 1]),
            get(format!("/v2/a/blobs/{EMPTY}")).error(404, "BLOB_UNKNOWN"),
            delete_repository("a").error(404, "NAME_UNKNOWN"),
            post("/v2/a/blobs/uploads/").status(202),
            patch("{location}").body("bytes").status(202),
            delete_repository("a").error(404, "NAME_UNKNOWN"),
            put(format!("{{location}}{{&}}digest={}", digest(b"bytes"))).status(201),
            // The last tag and the last manifest of a repository, one by one.
            push("b", b"config"),
            put_manifest("b", "v1", &image(b"config", &[])).status(201),
            put_manifest("b", "v2", &image(b"config", &[b"config"])).status(201),
            put_manifest("b", "v1", &image(b"config", &[b"config"])).status(201),
            get("/v2/_catalog").content(r#"{"repositories":["b"]}"#),
            delete("/v2/b/manifests/v2").status(202),
            delete(format!("/v2/b/manifests/{}", digest(image(b"config", &[]).as_bytes())))
                .status(202),
            get("/v2/_catalog").content(r#"{"repositories":["b"]}"#),
            delete(format!(
                "/v2/b/manifests/{}",
                digest(image(b"config", &[b"config"]).as_bytes())
            ))
            .status(202),
            get("/v2/_catalog").content(r#"{"repositories":[]}"#),
        ],
    )
}
