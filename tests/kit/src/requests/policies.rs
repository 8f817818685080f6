//! Rules for what is stored.

use super::{
    DELETE, OCI_MANIFEST, Setting, Step, Table, delete, digest, get, image, post, push, put,
    put_manifest,
};

/// Releases stay; days can be deleted.
const IMMUTABLE: Setting = (
    "REGISTRY_POLICY_IMMUTABLE",
    "releases a,!scratch/** v.*,!.*-rc[0-9]+; days ** day-.* deletable",
);

/// Little room, and room for few tags.
const QUOTAS: Setting =
    ("REGISTRY_POLICY_QUOTAS", "small a,a/** 4KiB; full f,g 1KiB; few t/** 2 tags; all ** 1GiB");

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

/// What a refusal by a quota says.
fn over(rule: &str, resource: &str, used: usize, limit: usize, needed: Option<usize>) -> String {
    let needed = needed.map_or("null".to_owned(), |needed| needed.to_string());
    format!(
        r#""detail":{{"limit":{limit},"needed":{needed},"resource":"{resource}","rule":"{rule}","setting":"REGISTRY_POLICY_QUOTAS","used":{used}}}"#
    )
}

/// A push is refused before anything of it is stored, and what is there can be pushed again.
pub(super) fn quotas_of_bytes() -> Table {
    let is_refused = |step: Step| step.error(403, "DENIED");
    let layer = [b'x'; 3000];
    let fits = image(b"config", &[&layer]);
    let large = [b'y'; 4080];
    let too_large = image(b"config", &[&large]);
    let upload = |name: &str| post(format!("/v2/{name}/blobs/uploads/"));
    let mount = |name: &str, blob: &[u8], from: &str| {
        post(format!("/v2/{name}/blobs/uploads/?mount={}&from={from}", digest(blob)))
    };
    Table::with(
        &[QUOTAS],
        vec![
            push("a", b"config"),
            push("a", &layer),
            put_manifest("a", "v1", &fits).status(201),
            put_manifest("a", "v1", &fits).status(201),
            put_manifest("a", "v2", &fits).status(201),
            // Another repository of the rule holds the same once more.
            mount("a/b", &layer, "a").status(201),
            mount("a/b", b"config", "a").status(201),
            put_manifest("a/b", "v1", &fits).status(201),
            push("a/b", &layer),
            // One that is for no such rule.
            push("b", &large),
            push("b", b"config"),
            put_manifest("b", "v1", &too_large).status(201),
            // A first push that is too large.
            push("f", &large),
            push("f", b"config"),
            is_refused(put_manifest("f", "v1", &too_large))
                .says(r#"the quota \"full\" of REGISTRY_POLICY_QUOTAS is exceeded: 4086 of 1024 bytes"#)
                .says(over("full", "bytes", 4086, 1024, Some(too_large.len()))),
            get("/v2/f/manifests/v1").error(404, "MANIFEST_UNKNOWN"),
            get(format!("/v2/f/manifests/{}", at(&too_large))).error(404, "MANIFEST_UNKNOWN"),
            // Nothing more comes, in no repository of the rule, but what is there.
            is_refused(upload("f")).says(over("full", "bytes", 4086, 1024, None)),
            is_refused(upload("g")).says(over("full", "bytes", 4086, 1024, None)),
            is_refused(mount("g", &layer, "a")).says("full"),
            is_refused(
                post(format!("/v2/f/blobs/uploads/?digest={}", digest(b"new"))).body(b"new".to_vec()),
            ),
            get(format!("/v2/f/blobs/{}", digest(b"new"))).error(404, "BLOB_UNKNOWN"),
            push("f", &large),
            mount("g", &large, "f").status(201),
            get(format!("/v2/f/blobs/{}", digest(&large))).content(large.to_vec()),
            upload("b").status(202),
        ],
    )
}

pub(super) fn quotas_of_tags() -> Table {
    let is_refused = |step: Step| step.error(403, "DENIED");
    let push_tags = |manifest: &str, tags: &str| {
        put(format!("/v2/t/manifests/{}?{tags}", at(manifest)))
            .header("content-type", OCI_MANIFEST)
            .body(manifest.to_owned())
    };
    Table::with(
        &[QUOTAS],
        vec![
            push("t", b"config"),
            put_manifest("t", "v1", &one()).status(201),
            put_manifest("t", "v2", &one()).status(201),
            is_refused(put_manifest("t", "v3", &one()))
                .says("2 of 2 tags are used, and this push needs 1 more")
                .says(over("few", "tags", 2, 2, Some(1))),
            get("/v2/t/manifests/v3").error(404, "MANIFEST_UNKNOWN"),
            // A tag moves, and a manifest needs none.
            put_manifest("t", "v1", &two()).status(201),
            put_manifest("t", &at(&one()), &one()).status(201),
            push_tags(&one(), "tag=v1&tag=v2").status(201),
            is_refused(push_tags(&two(), "tag=v1&tag=v4")).says(over("few", "tags", 2, 2, Some(1))),
            get("/v2/t/manifests/v1").content(one()),
            push("t/u", b"config"),
            is_refused(put_manifest("t/u", "v1", &one())).says("\\\"few\\\""),
            get("/v2/t/tags/list").content(r#"{"name":"t","tags":["v1","v2"]}"#),
        ],
    )
}
