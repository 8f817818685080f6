//! What tags have pointed to, and which extensions there are.

use super::{DELETE, OCI_INDEX, Table, delete, digest, get, head, image, push, put_manifest};

pub(super) fn history_of_a_tag() -> Table {
    const HISTORY: &str = "/v2/a/_oci/tag-history/latest";
    let none = format!(r#"{{"manifests":[],"mediaType":"{OCI_INDEX}","schemaVersion":2}}"#);
    let manifests = [image(b"config", &[]), image(b"config", &[b"config"])];
    let [one, two] = [digest(manifests[0].as_bytes()), digest(manifests[1].as_bytes())];
    let size = |at: usize| format!(r#""size":{}"#, manifests[at].len());
    Table::with(
        &[DELETE],
        vec![
            // Neither a repository nor a tag that does not exist is an error: 404 says that the
            // extension is missing.
            get(HISTORY).content(none.clone()).expect("content-type", OCI_INDEX),
            push("a", b"config"),
            put_manifest("a", "latest", &manifests[0]).status(201),
            put_manifest("a", "other", &manifests[0]).status(201),
            get(HISTORY)
                .manifests(&[&one])
                .says(r#""org.opencontainers.distribution.tag.event":"created""#)
                .says(r#""org.opencontainers.distribution.tag.timestamp":"20"#)
                .says(size(0))
                .expect_no("link"),
            put_manifest("a", "latest", &manifests[1]).status(201),
            put_manifest("a", "latest", &manifests[0]).status(201),
            get(HISTORY).manifests(&[&one, &two]).says(size(0)).says(size(1)),
            get("/v2/a/_oci/tag-history/other").manifests(&[&one]),
            get("/v2/a/_oci/tag-history/none").content(none.clone()),
            head(HISTORY).status(405),
            // Parts of it.
            get(format!("{HISTORY}?n=0")).content(none.clone()).expect_no("link"),
            get(format!("{HISTORY}?n=2")).manifests(&[&one, &two]).expect_no("link"),
            get(format!("{HISTORY}?digest={two}")).manifests(&[&two]),
            get(format!("{HISTORY}?digest={}", digest(b"x"))).content(none.clone()),
            get(format!("{HISTORY}?before=2020-01-01T00:00:00Z")).content(none.clone()),
            get(format!("{HISTORY}?since=2020-01-01T00:00:00%2B01:00")).manifests(&[&one, &two]),
            get(format!("{HISTORY}?since=2020-01-01T00:00:00+01:00")).manifests(&[&one, &two]),
            get(format!("{HISTORY}?last={}", digest(b"x"))).manifests(&[&one, &two]),
            get(format!("{HISTORY}?n=x")).error(400, "PAGINATION_NUMBER_INVALID"),
            get(format!("{HISTORY}?before=yesterday")).error(400, "UNSUPPORTED").says("RFC 3339"),
            get(format!("{HISTORY}?digest=latest")).error(400, "DIGEST_INVALID"),
            get("/v2/a/_oci/tag-history/-x").error(400, "TAG_INVALID"),
            get("/v2/A/_oci/tag-history/latest").error(400, "NAME_INVALID"),
            // A manifest that was deleted stays in the history of a tag that has moved on.
            delete("/v2/a/manifests/other").status(202),
            delete(format!("/v2/a/manifests/{two}")).status(202),
            get(HISTORY).manifests(&[&one, &two]).says(r#""roadstead.manifest":"missing""#),
            // A tag that was deleted has none.
            delete("/v2/a/manifests/latest").status(202),
            get(HISTORY).content(none.clone()),
            put_manifest("a", "latest", &manifests[1]).status(201),
            get(HISTORY).manifests(&[&two]),
            delete(format!("/v2/a/manifests/{two}")).status(202),
            get(HISTORY).content(none),
        ],
    )
}

pub(super) fn extensions() -> Table {
    const DISCOVER: &str = "/v2/_oci/ext/discover";
    Table::with(
        &[DELETE],
        vec![
            get(DISCOVER)
                .expect("content-type", "application/json")
                .says(r#"{"extensions":[{"#)
                .says(r#""name":"_oci""#)
                .says(r#""/v2/<name>/_oci/tag-history/<tag>""#)
                .says("Experimental")
                .says(r#""name":"_roadstead""#)
                .says(r#""/v2/<name>/_roadstead/repository""#)
                .says(r#""/v2/<name>/_roadstead/image/<reference>""#)
                .says(r#""/v2/_roadstead/repositories""#)
                .says(r#""/v2/_roadstead/uploads""#)
                .says(r#""/v2/<name>/_roadstead/retention/<tag>""#)
                .says(r#""/v2/_roadstead/retention""#)
                .says(r#""/v2/_roadstead/collect""#),
            get("/v2/a/b/_oci/ext/discover")
                .says(r#""/v2/a/b/_oci/tag-history/<tag>""#)
                .says(r#""/v2/a/b/_roadstead/repository""#),
            head(DISCOVER).status(405),
            get("/v2/_oci/ext/other").error(404, "UNSUPPORTED"),
            get("/v2/A/_oci/ext/discover").error(400, "NAME_INVALID"),
        ],
    )
}
