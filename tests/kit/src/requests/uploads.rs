//! Uploads of blobs, in every way that the specification has.

use super::{EMPTY, Table, delete, digest, get, patch, post, put};

pub(super) fn upload_as_docker_pushes() -> Table {
    let blob = vec![7_u8; 300_000];
    Table::new(vec![
        post("/v2/a/blobs/uploads/").status(202).expect("range", "0-0"),
        get("{location}").status(204).expect("range", "0-0"),
        patch("{location}").body(blob.clone()).status(202).expect("range", "0-299999"),
        get("{location}").status(204).expect("range", "0-299999"),
        put(format!("{{location}}{{&}}digest={}", digest(&blob))).status(201),
        get("{location}").content(blob.clone()),
    ])
}

pub(super) fn upload_in_the_closing_put() -> Table {
    Table::new(vec![
        post("/v2/a/blobs/uploads/").status(202),
        put("{location}").body("x").error(400, "DIGEST_INVALID"),
        put(format!("{{location}}{{&}}digest={}", digest(b"whole"))).body("whole").status(201),
        get("{location}").content("whole"),
        // An escaped digest, and the empty blob without any body.
        post("/v2/a/blobs/uploads/").status(202),
        put(format!("{{location}}{{&}}digest={}", EMPTY.replace(':', "%3A"))).status(201),
        get("{location}").content(""),
    ])
}

pub(super) fn upload_in_chunks() -> Table {
    let late = |range: &str| {
        patch("{location}")
            .header("content-range", range)
            .body("xxxxx")
            .error(416, "BLOB_UPLOAD_INVALID")
            .expect("range", "0-4")
    };
    let whole = digest(b"0123456789abcde");
    Table::new(vec![
        post("/v2/a/blobs/uploads/").status(202),
        patch("{location}")
            .header("content-range", "0-4")
            .body("01234")
            .status(202)
            .expect("range", "0-4"),
        late("0-4"),
        late("6-10"),
        late("bytes 99-103/*"),
        patch("{location}").header("content-range", "5-8").body("56789").error(400, "SIZE_INVALID"),
        patch("{location}")
            .header("content-range", "9-5")
            .body("56789")
            .error(400, "BLOB_UPLOAD_INVALID"),
        patch("{location}")
            .header("content-range", "five")
            .body("56789")
            .error(400, "BLOB_UPLOAD_INVALID"),
        get("{location}").status(204).expect("range", "0-4"),
        patch("{location}")
            .header("content-range", "bytes 5-9/*")
            .body("56789")
            .status(202)
            .expect("range", "0-9"),
        put(format!("{{location}}{{&}}digest={whole}"))
            .header("content-range", "20-24")
            .body("abcde")
            .error(416, "BLOB_UPLOAD_INVALID")
            .expect("range", "0-9"),
        put(format!("{{location}}{{&}}digest={whole}"))
            .header("content-range", "10-14")
            .body("abcde")
            .status(201),
        get("{location}").content("0123456789abcde"),
    ])
}

pub(super) fn upload_with_a_wrong_digest_leaves_nothing() -> Table {
    let wrong = digest(b"other");
    let missing = || get(format!("/v2/a/blobs/{}", digest(b"other"))).error(404, "BLOB_UNKNOWN");
    Table::new(vec![
        post(format!("/v2/a/blobs/uploads/?digest={wrong}"))
            .body("this")
            .error(400, "DIGEST_INVALID"),
        missing(),
        post("/v2/a/blobs/uploads/").status(202),
        patch("{location}").body("this").status(202),
        put(format!("{{location}}{{&}}digest={wrong}")).error(400, "DIGEST_INVALID"),
        missing(),
        get(format!("/v2/a/blobs/{}", digest(b"this"))).error(404, "BLOB_UNKNOWN"),
        get("{location}").error(404, "BLOB_UPLOAD_UNKNOWN"),
        get("/v2/_catalog").content(r#"{"repositories":[]}"#),
    ])
}

pub(super) fn upload_cancelled_or_of_another_repository() -> Table {
    Table::new(vec![
        post("/v2/a/blobs/uploads/").status(202),
        patch("{location}").body("this").status(202),
        // The same upload, as if it were one of the repository b/v2/a.
        get("/v2/b{location}").error(404, "BLOB_UPLOAD_UNKNOWN"),
        delete("{location}").status(204),
        get("{location}").error(404, "BLOB_UPLOAD_UNKNOWN"),
        delete("{location}").error(404, "BLOB_UPLOAD_UNKNOWN"),
    ])
}
