//! The base endpoint, unknown paths, and requests that are not valid.

use super::{Table, delete, digest, get, head, patch, post, put};

pub(super) fn base_and_unknown_endpoints() -> Table {
    Table::new(vec![
        get("/v2/").content("{}").expect("docker-distribution-api-version", "registry/2.0"),
        get("/v2").content("{}"),
        head("/v2/"),
        get("/"),
        get("/v3/").error(404, "UNSUPPORTED"),
        get("/v2/x").error(404, "UNSUPPORTED"),
        get("/v2/x/y").error(404, "UNSUPPORTED"),
        get("/v2//").error(404, "UNSUPPORTED"),
        post("/v2/").error(405, "UNSUPPORTED").expect("allow", "GET, HEAD"),
        delete("/v2/_catalog").error(405, "UNSUPPORTED").expect("allow", "GET"),
        get("/v2/a/blobs/uploads/").error(405, "UNSUPPORTED").expect("allow", "POST"),
        patch("/v2/a/manifests/b")
            .body("x")
            .error(405, "UNSUPPORTED")
            .expect("allow", "GET, HEAD, PUT, DELETE"),
    ])
}

/// Without a token service, a request for a token is not even read: else this one
/// would be too long.
pub(super) fn tokens_are_not_issued() -> Table {
    let scope = "pull,".repeat(8_000);
    Table::new(vec![
        get("/v2/token").error(404, "UNSUPPORTED"),
        get(format!("/v2/token?scope=repository:a:{scope}")).error(404, "UNSUPPORTED"),
        post("/v2/token").body("\u{1}".repeat(1000)).error(404, "UNSUPPORTED"),
    ])
}

/// Each error says by its code which part of the request is not valid.
pub(super) fn invalid_requests() -> Table {
    let long = "a".repeat(256);
    let good = digest(b"x");
    Table::new(vec![
        get("/v2/Upper/manifests/latest").error(400, "NAME_INVALID"),
        get("/v2/a..b/tags/list").error(400, "NAME_INVALID"),
        get("/v2/-a/tags/list").error(400, "NAME_INVALID"),
        get("/v2/a//b/tags/list").error(400, "NAME_INVALID"),
        get("/v2/../tags/list").error(400, "NAME_INVALID"),
        get("/v2/a%2f..%2fb/tags/list").error(400, "NAME_INVALID"),
        get("/v2/a%00b/tags/list").error(400, "NAME_INVALID"),
        get("/v2/%ff%fe/tags/list").error(400, "NAME_INVALID"),
        get(format!("/v2/{long}/tags/list")).error(400, "NAME_INVALID"),
        get("/v2/a/manifests/.hidden").error(400, "TAG_INVALID"),
        get(format!("/v2/a/manifests/{long}")).error(400, "TAG_INVALID"),
        get("/v2/a/manifests/sha256:xyz").error(400, "DIGEST_INVALID"),
        get("/v2/a/manifests/md5:d41d8cd98f00b204e9800998ecf8427e").error(400, "DIGEST_INVALID"),
        get("/v2/a/blobs/latest").error(400, "DIGEST_INVALID"),
        get(format!("/v2/a/blobs/{}", good.to_uppercase())).error(400, "DIGEST_INVALID"),
        get("/v2/a/blobs/sha256:").error(400, "DIGEST_INVALID"),
        head("/v2/a/blobs/sha256:..%2f..").status(404),
        get("/v2/_catalog?n=-1").error(400, "PAGINATION_NUMBER_INVALID"),
        get("/v2/_catalog?n=many").error(400, "PAGINATION_NUMBER_INVALID"),
        post("/v2/a/blobs/uploads/?digest=nonsense").body("x").error(400, "DIGEST_INVALID"),
        post("/v2/a/blobs/uploads/?mount=nonsense&from=b").error(400, "DIGEST_INVALID"),
        post(format!("/v2/a/blobs/uploads/?mount={good}&from=B")).error(400, "NAME_INVALID"),
        patch("/v2/a/blobs/uploads/not-an-id").body("x").error(404, "BLOB_UPLOAD_UNKNOWN"),
        get("/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000")
            .error(404, "BLOB_UPLOAD_UNKNOWN"),
        put(format!("/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000?digest={good}"))
            .body("x")
            .error(404, "BLOB_UPLOAD_UNKNOWN"),
        patch("/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000")
            .body("x")
            .error(404, "BLOB_UPLOAD_UNKNOWN"),
        delete("/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000")
            .error(404, "BLOB_UPLOAD_UNKNOWN"),
    ])
}
