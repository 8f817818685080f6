//! What the registry's page shows: JSON of repositories, tags and images.

use super::{
    DELETE, OCI_INDEX, OCI_MANIFEST, Setting, Step, Table, delete, digest, get, head, image, patch,
    post, push, put, put_manifest,
};
use serde_json::json;

/// Releases stay.
const IMMUTABLE: Setting = ("REGISTRY_POLICY_IMMUTABLE", "releases team/** v.*");

/// What no page may take for markup.
const MARKUP: &str = "<script>alert(\"\\\\\")</script>";

const CONFIG: &[u8] = br#"{"architecture":"amd64","os":"linux","config":{"Env":["A=b"],
    "Labels":{"<b>":"&amp;"}},"history":[{"created_by":"RUN <img>"}]}"#;

const LAYER: &[u8] = b"layer";

fn app() -> String {
    image(CONFIG, &[LAYER])
}

/// An index of an image for a platform, with annotations.
fn index() -> String {
    let app = app();
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{
            "mediaType": OCI_MANIFEST, "digest": digest(app.as_bytes()), "size": app.len(),
            "platform": { "os": "linux", "architecture": "arm64", "variant": "v8" },
        }],
        "annotations": { "title": MARKUP },
    })
    .to_string()
}

fn put_index(name: &str, reference: &str) -> Step {
    put(format!("/v2/{name}/manifests/{reference}")).header("content-type", OCI_INDEX).body(index())
}

fn filled() -> Vec<Step> {
    let team = "team/app";
    vec![
        push(team, CONFIG),
        push(team, LAYER),
        put_manifest(team, "latest", &app()).status(201),
        put_manifest(team, "v1", &app()).status(201),
        put_index(team, "all").status(201),
        push("team", CONFIG),
        push("team", LAYER),
        put_manifest("team", "latest", &app()).status(201),
        push("team-x/app", CONFIG),
        put_manifest("team-x/app", "latest", &image(CONFIG, &[])).status(201),
    ]
}

/// The bytes of the image, and of the index besides.
fn sizes() -> (usize, usize) {
    let app = app().len() + CONFIG.len() + LAYER.len();
    (app, app + index().len())
}

pub(super) fn levels_of_repositories() -> Table {
    const PATH: &str = "/v2/_roadstead/repositories";
    let (app, all) = sizes();
    let small = image(CONFIG, &[]).len() + CONFIG.len();
    let mut steps =
        vec![get(PATH).content(
            r#"{"version":1,"under":"","total":0,"entries":[],"next":null,"complete":true}"#,
        )];
    steps.extend(filled());
    steps.extend([
        get(PATH)
            .expect("content-type", "application/json")
            .expect("cache-control", "no-store")
            .says(r#"{"version":1,"under":"","total":3,"entries":[{"kind":"repository","name":"team","tags":1,"#)
            .says(format!(r#""size":{app},"shared":{app},"#))
            .says(format!(r#"{{"kind":"group","name":"team-x/","repositories":1,"tags":1,"size":{small},"shared":{},"pushed":"20"#, CONFIG.len()))
            .says(format!(r#""complete":true}},{{"kind":"group","name":"team/","repositories":1,"tags":3,"size":{all},"shared":{app},"pushed":"20"#))
            .says(r#""next":null,"complete":true}"#),
        get(format!("{PATH}?under=team/"))
            .says(r#""under":"team/","total":1,"entries":[{"kind":"repository","name":"team/app","tags":3,"#)
            .says(format!(r#""size":{all},"shared":0,"pushed":"20"#)),
        get(format!("{PATH}?q=APP")).says(r#""total":2"#).says(r#""name":"team-x/app""#).says(
            // The config is in both.
            format!(r#""shared":{}"#, CONFIG.len()),
        ),
        get(format!("{PATH}?q=&n=2"))
            .says(r#""total":3,"entries":[{"kind":"repository","name":"team","#)
            .says(r#""name":"team-x/app""#)
            .says(r#""next":"team-x/app""#),
        get(format!("{PATH}?q=%3Cb%3E")).says(r#""total":0,"entries":[]"#),
        get(format!("{PATH}?n=1")).says(r#""total":3"#).says(r#""next":"team","#),
        get(format!("{PATH}?n=1&last=team"))
            .says(r#""total":3,"entries":[{"kind":"group","name":"team-x/","repositories":1,"#)
            .says(r#""complete":true}],"next":"team-x/","#),
        get(format!("{PATH}?n=5&last=team-x/"))
            .says(r#""total":3,"entries":[{"kind":"group","name":"team/","repositories":1,"#)
            .says(r#""complete":true}],"next":null,"#),
        get(format!("{PATH}?under=team")).error(400, "UNSUPPORTED").says("under"),
        get(format!("{PATH}?under=../")).error(400, "UNSUPPORTED"),
        get(format!("{PATH}?n=x")).error(400, "PAGINATION_NUMBER_INVALID"),
        head(PATH).status(405),
    ]);
    Table::with(&[DELETE], steps)
}

pub(super) fn tags_in_orders() -> Table {
    const PATH: &str = "/v2/team/app/_roadstead/tags";
    let (app, all) = sizes();
    let mut steps = vec![get(PATH).error(404, "NAME_UNKNOWN")];
    steps.extend(filled());
    steps.extend([
        get(PATH)
            .expect("content-type", "application/json")
            .says(r#"{"version":1,"name":"team/app","total":3,"matching":3,"can":{"push":true,"delete":true},"sorted_by":"name","complete":true,"tags":[{"name":"all""#)
            .says(format!(r#""size":{all},"platforms":["linux/arm64/v8"],"immutable":false,"#))
            .says(format!(r#""size":{app},"platforms":["linux/amd64"],"immutable":true,"#))
            .says(format!(r#"{{"name":"v1","digest":"{}","media_type":"{OCI_MANIFEST}","artifact_type":null,"pushed":"20"#, digest(app_bytes().as_slice())))
            .says(r#""pulled":null"#),
        get(format!("{PATH}?sort=size&order=desc&n=1"))
            .says(r#""matching":3"#)
            .says(r#""sorted_by":"size","complete":true,"tags":[{"name":"all""#)
            .says(r#""same":0}]"#),
        get(format!("{PATH}?sort=size&n=1&offset=1")).says(r#""tags":[{"name":"v1""#).says(r#""same":1}]"#),
        get(format!("{PATH}?sort=pushed&order=desc&n=2&q=L")).says(r#""matching":2"#),
        get(format!("{PATH}?offset=7")).says(r#""tags":[]}"#),
        get(format!("{PATH}?sort=digest")).error(400, "UNSUPPORTED").says("sort"),
        get(format!("{PATH}?order=up")).error(400, "UNSUPPORTED").says("order"),
        get(format!("{PATH}?offset=-1")).error(400, "UNSUPPORTED").says("offset"),
        get(format!("{PATH}?n=-1")).error(400, "PAGINATION_NUMBER_INVALID"),
        get("/v2/A/_roadstead/tags").error(400, "NAME_INVALID"),
        head(PATH).status(405),
    ]);
    Table::with(&[DELETE, IMMUTABLE], steps)
}

fn app_bytes() -> Vec<u8> {
    app().into_bytes()
}

pub(super) fn images() -> Table {
    let path = |reference: &str| format!("/v2/team/app/_roadstead/image/{reference}");
    let (app_size, all) = sizes();
    let app_digest = digest(&app_bytes());
    let quoted = serde_json::Value::from(index()).to_string();
    let markup = serde_json::Value::from(MARKUP).to_string();
    let signature = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "text/signature",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(CONFIG), "size": CONFIG.len() },
        "layers": [],
        "subject": { "mediaType": OCI_MANIFEST, "digest": app_digest, "size": app().len() },
        "annotations": { "by": MARKUP },
    })
    .to_string();
    let mut steps = filled();
    steps.extend([
        get(path("all"))
            .says(format!(r#""reference":"all","digest":"{}","media_type":"{OCI_INDEX}","artifact_type":null,"size":{all},"pushed":"20"#, digest(index().as_bytes())))
            .says(r#""kind":"index","tags":["all"],"tags_complete":true,"immutable":false,"can":{"push":true,"delete":true}"#)
            .says(format!(r#""annotations":{{"title":{markup}}},"subject":null"#))
            .says(format!(r#""manifest":{quoted}"#))
            .says(format!(r#""children":[{{"digest":"{app_digest}","media_type":"{OCI_MANIFEST}","size":{},"total":{app_size},"platform":"linux/arm64/v8","#, app().len()))
            .says(format!(r#""image":{{"digest":"{app_digest}","config":{{"digest":"{}""#, digest(CONFIG)))
            .says(r#""platform":"linux/amd64","#)
            .says(r#""referrers":[],"referrers_complete":true,"complete":true}"#),
        get(path("all?platform=linux/s390x")).says(r#""image":null"#),
        get(path(&app_digest))
            .says(r#""kind":"image","tags":["latest","v1"],"tags_complete":true,"immutable":true"#)
            .says(r#""pushed":"20"#)
            .says(r#""layers":[{"digest":"#)
            .says(r#""created_by":"RUN <img>","annotations":{}}]"#)
            .says(r#""env":["A=b"]"#)
            .says(r#""labels":{"<b>":"&amp;"}"#)
            .says(r#""complete":true"#),
        put_manifest("team/app", "signature", &signature).status(201),
        get(path("latest")).says(r#""referrers":[{"digest":"#).says(r#""artifact_type":"text/signature","annotations":{"by":"#),
        get(path("signature"))
            .says(r#""kind":"artifact""#)
            .says(format!(r#""subject":{{"digest":"{app_digest}""#)),
        get(path("none")).error(404, "MANIFEST_UNKNOWN"),
        get(path("-")).error(400, "TAG_INVALID"),
        get(path("sha256:0")).error(400, "DIGEST_INVALID"),
        get("/v2/none/_roadstead/image/latest").error(404, "MANIFEST_UNKNOWN"),
        head(path("all")).status(405),
    ]);
    Table::with(&[DELETE, IMMUTABLE], steps)
}

pub(super) fn previews_of_deletions() -> Table {
    const PATH: &str = "/v2/team/app/_roadstead/deletion";
    let app_digest = digest(&app_bytes());
    let mut steps = filled();
    steps.extend([
        get(format!("{PATH}?tag=latest&tag=v1&tag=none")).content(format!(
            r#"{{"version":1,"tags":[{{"name":"latest","digest":"{app_digest}","immutable":false,"missing":false,"others":["v1"],"others_complete":true,"referrers":0}},{{"name":"v1","digest":"{app_digest}","immutable":true,"missing":false,"others":["latest"],"others_complete":true,"referrers":0}},{{"name":"none","digest":null,"immutable":false,"missing":true,"others":[],"others_complete":true,"referrers":null}}]}}"#
        )),
        get(PATH).content(r#"{"version":1,"tags":[]}"#),
        get(format!("{PATH}?{}", "tag=a&".repeat(101))).error(414, "TAG_INVALID"),
        get(format!("{PATH}?tag=-")).error(400, "TAG_INVALID"),
        delete("/v2/team/app/manifests/latest").status(202),
        get(format!("{PATH}?tag=latest")).says(r#""missing":true"#),
        head(PATH).status(405),
    ]);
    Table::with(&[DELETE, IMMUTABLE], steps)
}

pub(super) fn the_registry_itself() -> Table {
    const PATH: &str = "/v2/_roadstead/ui/registry";
    Table::with(
        &[DELETE],
        vec![
            get(PATH)
                .expect("content-type", "application/json")
                .says(r#"{"version":1,"name":"Roadstead","release":""#)
                .says(r#""user":null,"authentication":"none","can":{"catalog":true,"delete":true,"maintain":true,"collect":"#)
                .says(r#""read_only":false,"settings":[{"name":"storage.delete.enabled","value":"true"}"#),
            head(PATH).status(405),
        ],
    )
}

pub(super) fn maintenance() -> Table {
    Table::with(
        &[DELETE],
        vec![
            get("/v2/_roadstead/collect/trash")
                .expect("cache-control", "no-store")
                .content(r#"{"version":1,"runs":[],"complete":true}"#),
            get("/v2/_roadstead/uploads")
                .expect("cache-control", "no-store")
                .content(r#"{"version":1,"uploads":[],"next":null,"complete":true}"#),
            post("/v2/a/blobs/uploads/").status(202),
            patch("{location}").body("xyz").status(202),
            get("/v2/_roadstead/uploads")
                .says(r#"{"version":1,"uploads":[{"repository":"a","id":""#)
                .says(r#""started":null,"changed":"20"#)
                .says(r#""next":null,"complete":true}"#),
            head("/v2/_roadstead/uploads").status(405),
            head("/v2/_roadstead/collect/trash").status(405),
        ],
    )
}

/// Where anybody may ask, what is for operators is for those who let anybody delete.
pub(super) fn maintenance_is_off() -> Table {
    Table::new(vec![
        get("/v2/_roadstead/collect/trash").error(405, "UNSUPPORTED"),
        get("/v2/_roadstead/uploads").error(405, "UNSUPPORTED"),
    ])
}

pub(super) fn the_registry_itself_to_others() -> Table {
    Table::new(vec![
        get("/v2/_roadstead/ui/registry")
            .says(r#""can":{"catalog":true,"delete":false,"maintain":false,"collect":false}"#)
            .says(r#""settings":null"#),
    ])
}
