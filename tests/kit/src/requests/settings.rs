//! What settings forbid, allow or add.

use super::{
    DELETE, Step, Table, delete, digest, get, image, patch, post, push, put, put_manifest,
};

/// Deletes are off unless a setting allows them.
pub(super) fn deletes_are_off() -> Table {
    let off = |step: Step| step.error(405, "UNSUPPORTED").expect("allow", "GET, HEAD");
    Table::new(vec![
        push("a", b"x"),
        off(delete(format!("/v2/a/blobs/{}", digest(b"x")))),
        off(delete("/v2/a/manifests/latest")),
        off(delete("/v2/a/_roadstead/repository")),
        get(format!("/v2/a/blobs/{}", digest(b"x"))).content("x"),
    ])
}

pub(super) fn read_only() -> Table {
    const READ_ONLY: (&str, &str) = ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true");
    let off = |step: Step| step.error(405, "UNSUPPORTED");
    Table::with(
        &[READ_ONLY, DELETE],
        vec![
            get("/v2/"),
            off(post("/v2/a/blobs/uploads/")),
            off(patch("/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000").body("x")),
            off(put("/v2/a/manifests/t").body("{}")),
            off(delete("/v2/a/manifests/t")),
            off(post("/v2/_roadstead/collect")),
            off(delete("/v2/a/_roadstead/repository")),
            get("/v2/a/manifests/t").error(404, "MANIFEST_UNKNOWN"),
        ],
    )
}

/// A warning that every response carries.
pub(super) fn warning() -> Table {
    const WARNING: (&str, &str) = ("REGISTRY_HTTP_WARNING", "moving to registry.example on Friday");
    let warning = r#"299 - "moving to registry.example on Friday""#;
    Table::with(
        &[WARNING],
        vec![
            get("/v2/").expect("warning", warning),
            get("/v2/a/tags/list").error(404, "NAME_UNKNOWN").expect("warning", warning),
        ],
    )
}

/// Images whose blobs are elsewhere.
pub(super) fn sparse_images() -> Table {
    const SPARSE: (&str, &str) = ("REGISTRY_VALIDATION_MANIFESTS_SPARSE", "true");
    Table::with(&[SPARSE], vec![put_manifest("a", "t", &image(b"config", &[b"layer"])).status(201)])
}
