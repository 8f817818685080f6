//! Scrubbing by request. What a scrub finds is not a matter of these rows.

use roadstead_bridge::collect::{REPORTS, USAGE};

use super::{DELETE, Step, Table, get, image, post, push, put_manifest};

/// `POST /v2/_roadstead/scrub`.
fn slice() -> Step {
    post("/v2/_roadstead/scrub")
}

const QUARANTINE: &str = r#"{"quarantine": true}"#;

/// What anybody may ask for who need not log in goes with deletion.
pub(super) fn scrubbing_is_off() -> Table {
    let off = |step: Step| step.error(405, "UNSUPPORTED");
    Table::new(vec![off(slice()), off(get(REPORTS)), off(get(USAGE))])
}

pub(super) fn scrubbing() -> Table {
    let wrong = |body: &str| slice().body(body.to_owned()).error(400, "UNSUPPORTED");
    Table::with(
        &[DELETE],
        vec![
            get("/v2/_roadstead/scrub").error(405, "UNSUPPORTED").expect("allow", "POST"),
            wrong("x"),
            wrong("[]x"),
            wrong(r#"{"grace": 0}"#),
            wrong(r#"{"bytes": 0}"#),
            wrong(r#"{"bytes": 1073741825}"#),
            wrong(r#"{"bytes": -1}"#),
            wrong(r#"{"hash": 1}"#),
            wrong(r#"{"hash": true, "hash": false}"#),
            wrong(r#"{"cursor": ""}"#),
            wrong(r#"{"cursor": "1.e30"}"#),
            wrong(&" ".repeat(70_000)),
            push("a", b"config"),
            push("a", b"layer"),
            put_manifest("a", "t", &image(b"config", &[b"layer"])).status(201),
            slice().expect("content-type", "application/json").expect("cache-control", "no-store"),
            slice().body("{}"),
            slice().body(r#"{"cursor": null, "bytes": 1, "hash": true, "quarantine": false}"#),
            slice().body(r#"{"bytes": 1073741824, "hash": false}"#),
            // {"stage":{"repositories":{}}}
            slice().body(r#"{"cursor": "1.eyJzdGFnZSI6eyJyZXBvc2l0b3JpZXMiOnt9fX0"}"#),
        ],
    )
}

/// What moves data needs what deletes it.
pub(super) fn quarantine_is_off() -> Table {
    const OFF: (&str, &str) = ("REGISTRY_STORAGE_MAINTENANCE_GC_ENABLED", "false");
    Table::with(
        &[DELETE, OFF],
        vec![slice().body(QUARANTINE).error(405, "UNSUPPORTED"), slice().body("{}")],
    )
}

pub(super) fn scrubbing_what_is_read_only() -> Table {
    const READ_ONLY: (&str, &str) = ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true");
    Table::with(
        &[READ_ONLY, DELETE],
        vec![slice().body(QUARANTINE).error(405, "UNSUPPORTED"), slice().body("{}")],
    )
}
