//! Blobs: pulls, whole and by ranges.

use super::{EMPTY, INERT, Table, digest, get, head, push};

pub(super) fn blob_in_one_post() -> Table {
    let blob = b"0123456789";
    let at = format!("/v2/a/b/blobs/{}", digest(blob));
    Table::new(vec![
        head(&at).status(404),
        get(&at).error(404, "BLOB_UNKNOWN"),
        push("a/b", blob).expect("docker-content-digest", digest(blob)),
        get(&at)
            .content("0123456789")
            .expect("content-length", "10")
            .expect("content-type", "application/octet-stream")
            .expect("accept-ranges", "bytes")
            .expect("docker-content-digest", digest(blob))
            .expect("etag", format!("\"{}\"", digest(blob)))
            .expect("x-content-type-options", "nosniff")
            .expect("content-security-policy", INERT),
        head(&at).expect("content-length", "10").expect("docker-content-digest", digest(blob)),
        // Another repository does not hold it.
        get(format!("/v2/c/blobs/{}", digest(blob))).error(404, "BLOB_UNKNOWN"),
        // A second time, and an empty blob.
        push("a/b", blob),
        push("a/b", b""),
        get(format!("/v2/a/b/blobs/{EMPTY}")).content("").expect("content-length", "0"),
        get(format!("/v2/a/b/blobs/{EMPTY}")).header("range", "bytes=0-").content(""),
    ])
}

pub(super) fn ranges_of_a_blob() -> Table {
    let blob = b"0123456789";
    let at = format!("/v2/a/blobs/{}", digest(blob));
    let part = |range: &str, content: &'static str, place: &str| {
        get(&at)
            .header("range", range)
            .status(206)
            .content(content)
            .expect("content-range", format!("bytes {place}/10"))
            .expect("content-length", content.len().to_string())
    };
    let beyond = |range: &str| {
        get(&at)
            .header("range", range)
            .error(416, "RANGE_INVALID")
            .expect("content-range", "bytes */10")
    };
    let tag = |content: &str| format!("\"{}\"", digest(content.as_bytes()));
    let whole = |range: &str| {
        get(&at).header("range", range).content("0123456789").expect_no("content-range")
    };
    Table::new(vec![
        push("a", blob),
        part("bytes=2-4", "234", "2-4"),
        part("bytes=0-0", "0", "0-0"),
        part("bytes=7-", "789", "7-9"),
        part("bytes=-3", "789", "7-9"),
        part("bytes=-99", "0123456789", "0-9"),
        part("bytes=5-99", "56789", "5-9"),
        part("bytes=0-", "0123456789", "0-9"),
        beyond("bytes=10-"),
        beyond("bytes=10-12"),
        beyond("bytes=5-4"),
        beyond("bytes=-0"),
        whole("bytes=1-2,4-5"),
        whole("lines=1-2"),
        whole("bytes=x-y"),
        part("bytes=2-4", "234", "2-4").header("if-range", &tag("0123456789")),
        whole("bytes=2-4").header("if-range", &tag("other")),
        whole("bytes=2-4").header("if-range", &format!("W/{}", tag("0123456789"))),
        whole("bytes=2-4").header("if-range", "Sat, 29 Oct 1994 19:43:31 GMT"),
    ])
}
