//! Garbage collection by request. What a run does is not a matter of these rows.

use super::{DELETE, Step, Table, delete, get, image, post, push, put_manifest};
use crate::requests::digest;
use roadstead_bridge::collect::{REPORTS, USAGE, WHY};

/// `POST /v2/_roadstead/collect`.
fn slice() -> Step {
    post("/v2/_roadstead/collect")
}

/// What no client can say.
const FORGED: &str = r#"{"grace":0,"keep":0,"interval":0,"exclusive":true}"#;

/// Collection goes with deletion.
pub(super) fn collection_is_off() -> Table {
    let off = |step: Step| step.error(405, "UNSUPPORTED");
    Table::new(vec![off(slice()), off(slice().header("x-roadstead-collect", FORGED))])
}

/// The settings can leave it to others.
pub(super) fn collection_without_permission() -> Table {
    const OFF: (&str, &str) = ("REGISTRY_STORAGE_MAINTENANCE_GC_ENABLED", "false");
    Table::with(&[DELETE, OFF], vec![slice().error(405, "UNSUPPORTED")])
}

pub(super) fn collection() -> Table {
    let wrong = |body: &str| slice().body(body.to_owned()).error(400, "UNSUPPORTED");
    let zeros = "0".repeat(32);
    let mut steps = vec![
        get("/v2/_roadstead/collect").error(405, "UNSUPPORTED").expect("allow", "POST"),
        wrong("x"),
        wrong("[]x"),
        wrong(r#"{"grace": 0}"#),
        wrong(r#"{"exclusive": true}"#),
        wrong(r#"{"dry_run": 1}"#),
        wrong(r#"{"dry_run": true, "dry_run": false}"#),
        wrong(r#"{"run": "7"}"#),
        wrong(r#"{"undo": "7"}"#),
        get(REPORTS).status(200).expect("content-type", "application/json"),
        get(format!("{USAGE}?last=zzz")).content(r#"{"repositories":[]}"#),
        get(format!("{WHY}{}", digest(b"nothing"))).expect("cache-control", "no-store"),
        get(format!("{WHY}x")).error(400, "DIGEST_INVALID"),
        post(USAGE).error(405, "UNSUPPORTED").expect("allow", "GET"),
        wrong(&format!(r#"{{"run": "{}"}}"#, "F".repeat(32))),
        wrong(&" ".repeat(2000)),
        push("a", b"config"),
        push("a", b"layer"),
        put_manifest("a", "t", &image(b"config", &[b"layer"])).status(201),
        push("a", b"left"),
        delete("/v2/a/manifests/t").status(202),
    ];
    // If one of them were believed, the young blob would not stay.
    for forged in ["x", FORGED] {
        steps.push(slice().header("x-roadstead-collect", forged));
        steps.push(get(format!("/v2/a/blobs/{}", digest(b"left"))).content("left"));
    }
    for body in ["{}", r#"{"run": null, "dry_run": true}"#, r#"{"dry_run": false}"#] {
        steps.push(slice().body(body).expect("content-type", "application/json"));
    }
    // A run that nobody has begun.
    steps
        .push(slice().body(format!(r#"{{"run": "{zeros}"}}"#)).expect("cache-control", "no-store"));
    Table::with(&[DELETE], steps)
}
