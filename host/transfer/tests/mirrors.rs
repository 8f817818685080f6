//! Registries that are mirrored.

use crate::commands::{assert_whole, block_on, filled, run, succeed, text};
use crate::content::{Content, LARGE};
use crate::served::Served;
use serde_json::Value;

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&succeed(&[arguments, &["--json"]].concat())).unwrap()
}

fn figures(said: &Value) -> [u64; 4] {
    ["blobs", "mounted", "blobsThere", "manifests"].map(|name| said[name].as_u64().unwrap())
}

#[test]
fn a_registry_is_mirrored_once() {
    let content = Content::with_layer(LARGE);
    let (root, data) = filled(&content);
    let [target, other] = ["target", "other"].map(|name| root.path().join(name));
    std::fs::create_dir(&target).unwrap();
    let (from, to) = (Served::start(&data), Served::start(&target));
    let said = json(&["mirror", &to.url(), "--from", &from.url()]);
    assert_eq!(figures(&said), [5, 0, 0, 4], "{said}");
    assert_whole(&content, &target);
    let sent = to.seen("PUT");
    let said = json(&["mirror", &to.url(), "--from", &from.url()]);
    assert_eq!(figures(&said), [0, 0, 0, 0], "{said}");
    assert_eq!((to.seen("PUT"), from.seen("GET /v2/team/app/blobs")), (sent, 5));
    // Under another name, everything is mounted.
    let said = json(&["mirror", &to.url(), "--from", &from.url(), "team/app:v1", "--prefix", "m"]);
    assert_eq!(figures(&said), [0, 5, 0, 4], "{said}");
    // Between a registry and a data directory.
    let said = json(&["mirror", text(&other), "--from", &from.url(), "team/*"]);
    assert_eq!(figures(&said), [5, 0, 0, 4], "{said}");
    assert_whole(&content, &other);
}

#[test]
fn what_is_new_is_sent() {
    let content = Content::new();
    let (root, data) = filled(&content);
    let target = root.path().join("target");
    succeed(&["mirror", text(&target), "--from", text(&data)]);
    let new = Content::with_layer(101);
    block_on(new.push(&data));
    let said = json(&["mirror", text(&target), "--from", text(&data), "--dry-run"]);
    // The large layer is new, and with it an image, the index and its signature.
    assert_eq!(figures(&said), [1, 0, 3, 3], "{said}");
    assert!(!block_on(new.missing(&target)).is_empty());
    let said = json(&["mirror", text(&target), "--from", text(&data)]);
    assert_eq!(figures(&said)[3], 3, "{said}");
    assert_whole(&new, &target);
    // Another tag for what is there.
    let tags = data.join("docker/registry/v2/repositories/team/app/_manifests/tags");
    std::fs::create_dir_all(tags.join("v2/current")).unwrap();
    std::fs::copy(tags.join("v1/current/link"), tags.join("v2/current/link")).unwrap();
    let said = json(&["mirror", text(&target), "--from", text(&data), "team/app:v2"]);
    assert_eq!((figures(&said), &said["images"][0]["result"]), ([0; 4], &"tagged".into()));
}

#[test]
fn lists_are_mirrored_as_far_as_possible() {
    let content = Content::new();
    let (root, data) = filled(&content);
    let served = Served::start(&data);
    let target = root.path().join("target");
    let list = root.path().join("list.yml");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let images = format!(
        "{}: {{images: {{team/app: [v1, v2]}}}}\nhttp://{nobody}: {{images: {{a: []}}}}",
        served.url()
    );
    std::fs::write(&list, images).unwrap();
    let (status, said, problems) = run(&["mirror", text(&target), "--list", text(&list)]);
    assert_eq!(status, 1);
    assert!(said.starts_with("2 of 4 images"), "{said}");
    for said in ["team/app:v2: failed: it is not there", "cannot connect"] {
        assert!(problems.contains(said), "{problems}");
    }
    assert_whole(&content, &target);
}

#[test]
fn a_registry_with_a_login_and_redirects_is_mirrored() {
    let content = Content::with_layer(LARGE);
    let (root, data) = filled(&content);
    let store = Served::start(&data);
    let from = Served::start_with(&data, Some(store.url()), true);
    let config = root.path().join("config.json");
    // alice:secret
    let auth = "YWxpY2U6c2VjcmV0";
    let host = from.url().replace("http://", "");
    std::fs::write(&config, format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#)).unwrap();
    let target = root.path().join("target");
    let login = ["--docker-config", text(root.path())];
    let arguments = ["mirror", text(&target), "--from", &from.url()];
    let (status, _, problem) = run(&arguments);
    assert_eq!((status, problem.contains("docker login")), (2, true), "{problem}");
    succeed(&[&arguments[..], &login].concat());
    assert_eq!(store.logins(), 0, "the password is for the registry alone");
    assert_whole(&content, &target);
}
