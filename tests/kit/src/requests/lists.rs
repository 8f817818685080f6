//! Lists of tags and of repositories, in pages.

use super::{OCI_INDEX, Table, get, push, put};

pub(super) fn pages_of_tags_and_of_the_catalog() -> Table {
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    let send = |name: &str, tag: &str| {
        put(format!("/v2/{name}/manifests/{tag}"))
            .header("content-type", OCI_INDEX)
            .body(index)
            .status(201)
    };
    let tags = |tags: &str| format!(r#"{{"name":"a","tags":[{tags}]}}"#);
    let names = |names: &str| format!(r#"{{"repositories":[{names}]}}"#);
    Table::new(vec![
        get("/v2/_catalog").content(names("")),
        get("/v2/a/tags/list").error(404, "NAME_UNKNOWN"),
        send("a", "c"),
        send("a", "B"),
        send("a", "a"),
        send("a/b", "x"),
        send("a-b", "x"),
        get("/v2/a/tags/list").content(tags(r#""B","a","c""#)).expect_no("link"),
        get("/v2/a/tags/list?n=2")
            .content(tags(r#""B","a""#))
            .expect("link", r#"</v2/a/tags/list?n=2&last=a>; rel="next""#),
        get("/v2/a/tags/list?n=2&last=a").content(tags(r#""c""#)).expect_no("link"),
        get("/v2/a/tags/list?n=3").expect_no("link"),
        get("/v2/a/tags/list?last=b").content(tags(r#""c""#)),
        get("/v2/a/tags/list?n=0").content(tags("")).expect_no("link"),
        get("/v2/a/tags/list?last=zzz").content(tags("")),
        get("/v2/a/tags/list?n=99999999999999999999").content(tags(r#""B","a","c""#)),
        get("/v2/_catalog").content(names(r#""a","a-b","a/b""#)),
        get("/v2/_catalog?n=1")
            .content(names(r#""a""#))
            .expect("link", r#"</v2/_catalog?n=1&last=a>; rel="next""#),
        get("/v2/_catalog?n=1&last=a-b").content(names(r#""a/b""#)).expect_no("link"),
    ])
}

pub(super) fn text_that_headers_cannot_hold() -> Table {
    // Values of this size travel in headers between component and host.
    let deleted = "\u{7f}".repeat(1024);
    let controls = "\u{1}".repeat(1024);
    let long = "%01".repeat(20_000);
    let empty = r#"{"repositories":[]}"#;
    Table::new(vec![
        get("/v2/_catalog?last=%7f").content(empty),
        get("/v2/_catalog?last=%F0%9F%9A%A2%0d%0a").content(empty),
        get(format!("/v2/_catalog?last={long}")).content(empty),
        push("a", deleted.as_bytes()),
        get("{location}").content(deleted.clone()),
        push("a", controls.as_bytes()),
        get("{location}").content(controls.clone()),
    ])
}
