//! Deletes of tags, manifests and blobs.

use super::{DELETE, Table, delete, digest, get, head, image, post, push, put_manifest};

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
