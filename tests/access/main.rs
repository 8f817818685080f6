//! Access control: rules, challenges and tokens as tables against every form of
//! the registry; every route and method against the gate; and attacks.

mod attacks;
mod gate;
mod host;
mod jobs;
mod tokens;

use roadstead_tests::{Step, delete, digest, everywhere, get, head, post, put};

/// Users as `htpasswd -B -C 4` writes them: alice with the password `secret`,
/// bob with `pass:word`, carol with `none`.
pub const USERS: &str = "\
alice:$2y$04$otXFflgnRBs5/.9WB5WXoua48NmO/aSlvckSzhnCBf6fuoSZfGhni
bob:$2y$04$8Aabr9tVLFOxbpaFoDbesez5OXfe.RHfMsIUMdoYXsqacRtu2oH3a
carol:$2y$04$yTuPZaBqcjWwcr1OpV4Z.e7GP7EVm5apgYplM7i.CFquSdvg6GVuG";

pub const ALICE: (&str, &str) = ("alice", "secret");
pub const BOB: (&str, &str) = ("bob", "pass:word");
pub const CAROL: (&str, &str) = ("carol", "none");

/// Passwords without rules.
pub const PASSWORDS: [(&str, &str); 3] = [
    ("REGISTRY_AUTH", "htpasswd"),
    ("REGISTRY_AUTH_HTPASSWD_ENTRIES", USERS),
    ("REGISTRY_AUTH_HTPASSWD_REALM", "Registry Realm"),
];

pub const RULES: (&str, &str) = (
    "REGISTRY_AUTH_RULES",
    "@team = bob; alice all **; @team pull,push,catalog team/**; * pull shared",
);

pub const ANONYMOUS: (&str, &str) = (
    "REGISTRY_AUTH_RULES",
    "alice all **; bob pull,push,delete,catalog team/**; anonymous pull,catalog public/**",
);

/// The settings that make tokens work in all forms.
pub const TOKENS: [(&str, &str); 2] = [
    ("REGISTRY_HTTP_HOST", "https://registry.example"),
    ("REGISTRY_HTTP_SECRET", "what nobody else knows"),
];

pub const DELETE: (&str, &str) = ("REGISTRY_STORAGE_DELETE_ENABLED", "true");

pub const BASIC: &str = "Basic realm=\"Registry Realm\"";

pub const INDEX: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

pub fn with<'a>(
    some: &[(&'a str, &'a str)],
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    [some, more].concat()
}

/// Pushes an empty index, which references nothing.
pub fn push(name: &str, tag: &str, (user, password): (&str, &str)) -> Step {
    put(format!("/v2/{name}/manifests/{tag}"))
        .login(user, password)
        .header("content-type", "application/vnd.oci.image.index.v1+json")
        .body(INDEX)
}

/// Pushes a blob in one request.
pub fn push_blob(name: &str, blob: &[u8], (user, password): (&str, &str)) -> Step {
    post(format!("/v2/{name}/blobs/uploads/?digest={}", digest(blob)))
        .login(user, password)
        .body(blob.to_vec())
}

#[tokio::test]
async fn passwords() {
    everywhere("passwords", &PASSWORDS, || {
        let wrong = |step: Step| step.error(401, "UNAUTHORIZED").expect("www-authenticate", BASIC);
        vec![
            get("/").status(200),
            wrong(get("/v2/")),
            wrong(get("/v2/").login("alice", "wrong")),
            wrong(get("/v2/").login("nobody", "secret")),
            wrong(get("/v2/").login("alice", "secret ")),
            wrong(get("/v2/").login("", "")),
            wrong(get("/v2/").header("authorization", "Basic !")),
            wrong(get("/v2/").header("authorization", "Basic")),
            wrong(get("/v2/").header("authorization", "Digest x")),
            wrong(get("/v2/").header("authorization", "Bearer x")),
            get("/v2/").login("alice", "secret").content("{}").expect_no("www-authenticate"),
            get("/v2/").login("bob", "pass:word").content("{}"),
            head("/v2/").status(401).expect("www-authenticate", BASIC),
            // The scheme's name is case-insensitive.
            get("/v2/").header("authorization", "basic YWxpY2U6c2VjcmV0"),
            // Without rules, every authenticated user may do everything.
            push("a", "1", BOB).status(201),
            wrong(get("/v2/a/manifests/1")),
            wrong(get("/v2/b/manifests/1")),
            get("/v2/a/manifests/1").login("carol", "none"),
            get("/v2/_catalog").login("carol", "none").content(r#"{"repositories":["a"]}"#),
            wrong(get("/v2/_catalog")),
            // The body of a refused request is read to its end.
            wrong(put("/v2/a/manifests/2").body(vec![b'x'; 1_000_000])),
            get("/v2/token").login("alice", "secret").error(404, "UNSUPPORTED"),
        ]
    })
    .await;
}

#[tokio::test]
async fn rules() {
    let settings = with(&PASSWORDS, &[RULES, DELETE]);
    everywhere("rules", &settings, || {
        let denied = |step: Step| step.error(403, "DENIED").expect_no("www-authenticate");
        let bob = |step: Step| step.login("bob", "pass:word");
        let carol = |step: Step| step.login("carol", "none");
        vec![
            get("/v2/").error(401, "UNAUTHORIZED").expect("www-authenticate", BASIC),
            carol(get("/v2/")),
            push("team/a", "1", BOB).status(201),
            push("shared", "1", ALICE).status(201),
            push("secret/a", "1", ALICE).status(201),
            denied(push("shared", "2", BOB)),
            denied(push("team/a", "2", CAROL)),
            bob(get("/v2/shared/manifests/1")),
            carol(get("/v2/shared/tags/list")).content(r#"{"name":"shared","tags":["1"]}"#),
            denied(carol(get("/v2/team/a/tags/list"))),
            denied(bob(get("/v2/secret/a/manifests/1"))),
            // The answer is the same whether or not it exists.
            denied(bob(get("/v2/secret/none/manifests/1"))),
            denied(bob(delete("/v2/team/a/manifests/1"))),
            denied(bob(post("/v2/secret/a/blobs/uploads/"))),
            // Only repositories that the caller may list and pull.
            bob(get("/v2/_catalog")).content(r#"{"repositories":["team/a"]}"#),
            denied(carol(get("/v2/_catalog"))),
            get("/v2/_catalog")
                .login("alice", "secret")
                .content(r#"{"repositories":["secret/a","shared","team/a"]}"#),
            delete("/v2/team/a/manifests/1").login("alice", "secret").status(202),
        ]
    })
    .await;
}

/// What the page shows has no name, and no count, of what the caller may not see.
#[tokio::test]
async fn what_the_page_shows() {
    let settings = with(&PASSWORDS, &[RULES, DELETE]);
    everywhere("what_the_page_shows", &settings, || {
        const PATH: &str = "/v2/_roadstead/repositories";
        const REGISTRY: &str = "/v2/_roadstead/ui/registry";
        let denied = |step: Step| step.error(403, "DENIED");
        let bob = |path: &str| get(path).login("bob", "pass:word");
        let alice = |path: &str| get(path).login("alice", "secret");
        let carol = |path: &str| get(path).login("carol", "none");
        let names = ["secret/a", "shared", "team/a", "team/b/c", "teams"];
        let mut steps: Vec<_> =
            names.iter().map(|name| push(name, "1", ALICE).status(201)).collect();
        steps.extend([
            get(REGISTRY).error(401, "UNAUTHORIZED").expect("www-authenticate", BASIC),
            alice(REGISTRY)
                .says(r#""user":"alice","authentication":"basic","can":{"catalog":true,"delete":true,"maintain":true,"#)
                .says(r#""settings":[{"#),
            bob(REGISTRY)
                .says(r#""can":{"catalog":true,"delete":true,"maintain":false,"collect":false}"#)
                .says(r#""settings":null"#),
            carol(REGISTRY).says(r#""user":"carol""#).says(r#""can":{"catalog":false,"#),
            get(PATH).error(401, "UNAUTHORIZED"),
            denied(carol(PATH)),
            alice(PATH).says(r#""total":5"#),
            bob(PATH)
                // What others hold is not counted either.
                .says(r#""total":2,"entries":[{"kind":"group","name":"team/","repositories":2,"tags":2,"size":34,"shared":0,"#)
                .says(r#""complete":true}],"next":null,"complete":true"#),
            bob(&format!("{PATH}?q=a&n=1")).says(r#""total":2,"#).says(r#""next":"team/a","#),
            bob(&format!("{PATH}?q=a&n=1&last=team/a"))
                .says(r#""name":"team/b/c""#)
                .says(r#""next":null"#),
            bob(&format!("{PATH}?under=secret/")).says(r#""total":0,"entries":[],"next":null"#),
            bob("/v2/team/a/_roadstead/tags").says(r#""can":{"push":true,"delete":false}"#),
            alice("/v2/team/a/_roadstead/tags").says(r#""can":{"push":true,"delete":true}"#),
            carol("/v2/shared/_roadstead/image/1").says(r#""can":{"push":false,"delete":false}"#),
            denied(bob("/v2/secret/a/_roadstead/tags")),
            denied(bob("/v2/secret/a/_roadstead/image/1")),
            // The answer is the same whether or not it exists.
            denied(bob("/v2/secret/none/_roadstead/image/1")),
            denied(bob("/v2/team/a/_roadstead/deletion?tag=1")),
            alice("/v2/team/a/_roadstead/deletion?tag=1").says(r#""missing":false"#),
        ]);
        steps
    })
    .await;
}

/// Pages are full and link to the next one, however many names are hidden.
#[tokio::test]
async fn the_catalog_in_pages() {
    let settings = with(&PASSWORDS, &[RULES]);
    everywhere("the_catalog_in_pages", &settings, || {
        let page = |query: &str| get(format!("/v2/_catalog{query}")).login("bob", "pass:word");
        let names = ["a", "b", "team/a", "team/b", "tean", "teaz", "team/c", "z"];
        let mut steps: Vec<_> =
            names.iter().map(|name| push(name, "1", ALICE).status(201)).collect();
        steps.extend([
            page("?n=2")
                .content(r#"{"repositories":["team/a","team/b"]}"#)
                .expect("link", "</v2/_catalog?n=2&last=team%2Fb>; rel=\"next\""),
            page("?n=2&last=team%2Fb").content(r#"{"repositories":["team/c"]}"#).expect_no("link"),
            page("?n=3")
                .content(r#"{"repositories":["team/a","team/b","team/c"]}"#)
                .expect_no("link"),
            page("?n=1&last=a")
                .content(r#"{"repositories":["team/a"]}"#)
                .expect("link", "</v2/_catalog?n=1&last=team%2Fa>; rel=\"next\""),
            page("?n=0").content(r#"{"repositories":[]}"#),
            page("?last=team%2Fc").content(r#"{"repositories":[]}"#).expect_no("link"),
        ]);
        steps
    })
    .await;
}
