//! The manifests that refer to another one.

use super::{DELETE, OCI_INDEX, OCI_MANIFEST, Table, delete, digest, get, put};

pub(super) fn referrers() -> Table {
    let subject = digest(b"subject");
    let refer = |kind: &str, note: &str| {
        serde_json::json!({
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "artifactType": kind,
            "manifests": [],
            "subject": { "mediaType": OCI_MANIFEST, "digest": subject, "size": 7 },
            "annotations": { "note": note },
        })
        .to_string()
    };
    let entry = |kind: &str, note: &str| {
        let manifest = refer(kind, note);
        let at = digest(manifest.as_bytes());
        format!(
            r#"{{"mediaType":"{OCI_INDEX}","digest":"{at}","size":{},"artifactType":"{kind}","annotations":{{"note":"{note}"}}}}"#,
            manifest.len()
        )
    };
    let (one, two) = (("application/one", "1"), ("application/two", "2"));
    let place = |e: (&str, &str)| digest(refer(e.0, e.1).as_bytes());
    let (first, second) = if place(one) < place(two) { (one, two) } else { (two, one) };
    let index = |entries: &str| {
        format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{entries}]}}"#)
    };
    let list = format!("/v2/a/referrers/{subject}");
    let push_referrer = |e: (&str, &str)| {
        put(format!("/v2/a/manifests/{}", place(e)))
            .header("content-type", OCI_INDEX)
            .body(refer(e.0, e.1))
            .status(201)
            .expect("oci-subject", &subject)
    };
    let after = place(first).replace(':', "-");
    Table::with(
        &[DELETE],
        vec![
            get(&list).expect("content-type", OCI_INDEX).content(index("")),
            push_referrer(one),
            push_referrer(two),
            get(&list).expect("content-type", OCI_INDEX).expect_no("oci-filters-applied").content(
                index(&format!("{},{}", entry(first.0, first.1), entry(second.0, second.1))),
            ),
            get(format!("{list}?artifactType=application/two"))
                .expect("oci-filters-applied", "artifactType")
                .content(index(&entry(two.0, two.1))),
            get(format!("{list}?artifactType=none")).content(index("")),
            get(format!("{list}?n=1"))
                .content(index(&entry(first.0, first.1)))
                .expect("link", format!("<{list}?n=1&last={after}>; rel=\"next\"")),
            get(format!("{list}?n=1&last={after}"))
                .content(index(&entry(second.0, second.1)))
                .expect_no("link"),
            get(format!("/v2/b/referrers/{subject}")).content(index("")),
            get("/v2/a/referrers/nonsense").error(400, "DIGEST_INVALID"),
            delete(format!("/v2/a/manifests/{}", place(one))).status(202),
            get(&list).content(index(&entry(two.0, two.1))),
        ],
    )
}
