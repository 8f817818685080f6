//! Rules for what is stored.

use super::{
    DELETE, OCI_MANIFEST, Setting, Step, Table, delete, digest, get, image, push, put, put_manifest,
};

/// Releases stay; days can be deleted.
const IMMUTABLE: Setting = (
    "REGISTRY_POLICY_IMMUTABLE",
    "releases a,!scratch/** v.*,!.*-rc[0-9]+; days ** day-.* deletable",
);

fn one() -> String {
    image(b"config", &[])
}

fn two() -> String {
    image(b"config", &[b"config"])
}

fn at(manifest: &str) -> String {
    digest(manifest.as_bytes())
}

fn is_refused(step: Step) -> Step {
    step.error(409, "DENIED")
}

/// The same digest again is fine, another one is not, and what is not of the rule moves.
pub(super) fn immutable_tags() -> Table {
    let by_digest = |manifest: &str| format!("/v2/a/manifests/{}", at(manifest));
    Table::with(
        &[DELETE, IMMUTABLE],
        vec![
            push("a", b"config"),
            put_manifest("a", "v1", &one()).status(201),
            put_manifest("a", "v1", &one()).status(201),
            is_refused(put_manifest("a", "v1", &two()))
                .says("\\\"releases\\\"")
                .says("push under another tag")
                .says(format!(
                    r#""detail":{{"digest":"{}","rule":"releases","tag":"v1"}}"#,
                    at(&one())
                )),
            get("/v2/a/manifests/v1").content(one()),
            get(by_digest(&two())).error(404, "MANIFEST_UNKNOWN"),
            // Exceptions, and other tags.
            put_manifest("a", "v1-rc1", &one()).status(201),
            put_manifest("a", "v1-rc1", &two()).status(201),
            put_manifest("a", "latest", &one()).status(201),
            put_manifest("a", "latest", &two()).status(201),
            // Neither the tag can be deleted, nor its manifest, nor the repository.
            is_refused(delete("/v2/a/manifests/v1")).says("[deletable]"),
            is_refused(delete(by_digest(&one()))).says(r#""tag":"v1""#),
            is_refused(delete("/v2/a/_roadstead/repository")).says(r#""tag":"v1""#),
            get("/v2/a/tags/list").content(r#"{"name":"a","tags":["latest","v1","v1-rc1"]}"#),
            delete("/v2/a/manifests/v2").error(404, "MANIFEST_UNKNOWN"),
            delete("/v2/a/manifests/v1-rc1").status(202),
            delete(by_digest(&two())).status(202),
            get("/v2/a/tags/list").content(r#"{"name":"a","tags":["v1"]}"#),
            // One that can be deleted can be pushed anew then.
            put_manifest("a", "day-1", &one()).status(201),
            is_refused(put_manifest("a", "day-1", &two())).says("days"),
            delete("/v2/a/manifests/day-1").status(202),
            put_manifest("a", "day-1", &two()).status(201),
            delete(by_digest(&two())).status(202),
            get("/v2/a/manifests/day-1").error(404, "MANIFEST_UNKNOWN"),
            // Another repository.
            push("b", b"config"),
            put_manifest("b", "v1", &one()).status(201),
            put_manifest("b", "v1", &two()).status(201),
            put_manifest("b", "day-1", &two()).status(201),
            delete("/v2/b/_roadstead/repository").status(202),
            get("/v2/b/tags/list").error(404, "NAME_UNKNOWN"),
        ],
    )
}

/// Of several tags of one push, none is set if one of them is refused.
pub(super) fn immutable_tags_of_several() -> Table {
    let push_tags = |manifest: &str, tags: &str| {
        put(format!("/v2/a/manifests/{}?{tags}", at(manifest)))
            .header("content-type", OCI_MANIFEST)
            .body(manifest.to_owned())
    };
    Table::with(
        &[IMMUTABLE],
        vec![
            push("a", b"config"),
            push_tags(&one(), "tag=v2&tag=v1&tag=latest").status(201),
            is_refused(push_tags(&two(), "tag=free&tag=v3&tag=v1&tag=latest")).says("v1"),
            get("/v2/a/manifests/free").error(404, "MANIFEST_UNKNOWN"),
            get("/v2/a/manifests/v3").error(404, "MANIFEST_UNKNOWN"),
            get("/v2/a/manifests/latest").content(one()),
            push_tags(&one(), "tag=v1&tag=v3&tag=free").status(201),
            push_tags(&two(), "tag=v4&tag=latest").status(201).expect("oci-tag", "v4"),
            get("/v2/a/manifests/v4").content(two()),
            get("/v2/a/manifests/latest").content(two()),
            is_refused(push_tags(&one(), "tag=v4")),
            // By tag, with others.
            is_refused(
                put("/v2/a/manifests/free?tag=v4").header("content-type", OCI_MANIFEST).body(one()),
            ),
            get("/v2/a/tags/list")
                .content(r#"{"name":"a","tags":["free","latest","v1","v2","v3","v4"]}"#),
        ],
    )
}
