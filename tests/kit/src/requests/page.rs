//! The page for browsers, and requests that browsers send for pages of other sites.

use super::{DELETE, Setting, Step, Table, delete, digest, get, head, image, post, push, put};
use super::{INERT, OCI_MANIFEST};

const ON: Setting = ("REGISTRY_UI_ENABLED", "true");

/// As any browser says what it takes.
const BROWSER: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' \
    data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn browser(path: &str) -> Step {
    get(path).header("accept", BROWSER)
}

pub(super) fn the_page() -> Table {
    let of_page = |step: Step| {
        step.expect("content-security-policy", POLICY)
            .expect("x-content-type-options", "nosniff")
            .expect("referrer-policy", "no-referrer")
            .expect("cache-control", "no-cache")
            .expect("vary", "Accept-Encoding")
            .expect("cross-origin-opener-policy", "same-origin")
            .expect("cross-origin-resource-policy", "same-origin")
    };
    let index = roadstead_page::find("").map_or(&b""[..], |index| index.bytes);
    let hash = roadstead_page::find("").map_or("", |index| index.hash);
    let mut steps = vec![
        of_page(get("/ui/"))
            .expect("content-type", "text/html; charset=utf-8")
            .expect("content-length", index.len().to_string())
            .expect("etag", format!("\"{hash}\""))
            .expect_no("content-encoding")
            .expect_no("set-cookie")
            .content(index),
        of_page(get("/ui/").header("accept-encoding", "br, gzip;q=0.5"))
            .expect("content-encoding", "gzip")
            .expect("etag", format!("\"{hash}-gzip\"")),
        of_page(head("/ui/")).expect("content-length", index.len().to_string()),
        of_page(get("/ui/").header("if-none-match", &format!("\"{hash}\"")))
            .status(304)
            .expect("etag", format!("\"{hash}\""))
            .content(""),
        // Another encoding of it.
        get("/ui/").header("if-none-match", &format!("\"{hash}-gzip\"")).content(index),
        get("/ui/index.html").content(index),
        // Relative, so that a proxy may have it below a path.
        get("/ui").status(307).expect("location", "ui/").content(""),
        browser("/").status(307).expect("location", "ui/"),
        get("/").content("").expect("content-security-policy", INERT),
        get("/").header("accept", "*/*").content(""),
        get("/ui/none.js").error(404, "UNSUPPORTED"),
        get("/ui/../v2/").error(404, "UNSUPPORTED"),
        get("/ui/%2e%2e/index.html").error(404, "UNSUPPORTED"),
        get("/ui//index.html").error(404, "UNSUPPORTED"),
        get("/uix").error(404, "UNSUPPORTED"),
        post("/ui/").error(405, "UNSUPPORTED").expect("allow", "GET, HEAD"),
        // Nothing else of the registry has this policy.
        get("/v2/").expect("content-security-policy", INERT),
        get("/v2/_roadstead/repositories").expect("content-security-policy", INERT),
    ];
    for asset in roadstead_page::ASSETS {
        steps.push(
            of_page(get(format!("/ui/{}", asset.path)))
                .expect("content-type", asset.media_type)
                .content(asset.bytes),
        );
    }
    Table::with(&[ON], steps)
}

pub(super) fn no_page() -> Table {
    Table::with(
        &[("REGISTRY_UI_ENABLED", "false")],
        vec![
            get("/ui").error(404, "UNSUPPORTED"),
            get("/ui/").error(404, "UNSUPPORTED").expect("content-security-policy", INERT),
            get("/ui/index.html").error(404, "UNSUPPORTED"),
            browser("/").content(""),
            // The JSON is served in any case.
            get("/v2/_roadstead/ui/registry"),
        ],
    )
}

/// A browser sends the site of the page with every request; others send nothing of the kind.
pub(super) fn other_sites() -> Table {
    let from = |site: &str, step: Step| step.header("sec-fetch-site", site);
    let manifest = image(b"config", &[]);
    let put_from = |site: &str, tag: &str| {
        let put = put(format!("/v2/a/manifests/{tag}")).header("content-type", OCI_MANIFEST);
        from(site, put.body(manifest.clone()))
    };
    let refused = |step: Step| step.error(403, "DENIED").says("another site");
    let upload = || post(format!("/v2/a/blobs/uploads/?digest={}", digest(b"x"))).body("x");
    Table::with(
        &[DELETE, ON],
        vec![
            push("a", b"config"),
            put_from("none", "t").status(201),
            put_from("same-origin", "t").status(201),
            refused(put_from("cross-site", "u")),
            refused(put_from("same-site", "u")),
            refused(put_from("same-origin", "u").header("sec-fetch-site", "cross-site")),
            refused(from("cross-site", delete("/v2/a/manifests/t"))),
            refused(from("cross-site", delete("/v2/a/_roadstead/repository"))),
            refused(from("cross-site", upload())),
            refused(from("same-site", post("/v2/a/blobs/uploads/"))),
            refused(from("cross-site", post("/v2/_roadstead/collect"))),
            refused(from("cross-site", post("/v2/token"))),
            // What reads changes nothing.
            from("cross-site", get("/v2/a/tags/list")).content(r#"{"name":"a","tags":["t"]}"#),
            from("cross-site", get("/ui/")),
            from("none", upload()).status(201),
            from("same-origin", delete("/v2/a/manifests/t")).status(202),
        ],
    )
}
