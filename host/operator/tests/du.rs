//! `roadstead du` in a data directory, and against a registry's URL.

use crate::gc::serve;
use crate::local::{Local, LocalRegistry};
use bytes::Bytes;
use clap::Parser;
use roadstead_operator::du::{Args, Streams, run};
use roadstead_operator::gc::Display;
use roadstead_operator::registry::Registry as _;
use serde_json::{Value, json};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// The status, what was printed, and what went wrong.
fn du(arguments: &[&str]) -> (u8, String, String) {
    let nowhere = ["du", "--docker-config", "/nonexistent", "--docker-directory", "/nonexistent"];
    let first = if arguments[0].starts_with("http") { &nowhere[..] } else { &["du"] };
    let args = Cli::try_parse_from([first, arguments].concat());
    let args = args.unwrap_or_else(|error| panic!("{error}")).args;
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut streams = Streams {
        input: &mut &b"secret"[..],
        output: &mut output,
        errors: &mut errors,
        screen: roadstead_operator::terminal::Screen::None,
    };
    let status = run(&args, &Local, &mut Display::nothing(), &mut streams);
    (status, String::from_utf8(output).unwrap(), String::from_utf8(errors).unwrap())
}

fn manifest(layer: &str) -> String {
    let descriptor = |bytes: &str| json!({ "mediaType": "application/x", "digest": digest(bytes), "size": bytes.len() });
    let (config, layers) = (descriptor("{}"), [descriptor(layer)]);
    json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers })
        .to_string()
}

fn digest(bytes: &str) -> String {
    roadstead_kit::contract::sha256(bytes.as_bytes()).to_string()
}

/// A directory with images.
fn directory(images: &[(&str, &str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let registry = LocalRegistry::open(root.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let send = |method: &str, path: String, body: String| {
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("content-type", IMAGE).body(Bytes::from(body)).unwrap();
        let answer = runtime.block_on(registry.request(request, 1000)).unwrap();
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    };
    for (name, tag, layer) in images {
        for blob in ["{}", layer] {
            let path = format!("/v2/{name}/blobs/uploads/?digest={}", digest(blob));
            send("POST", path, blob.to_owned());
        }
        send("PUT", format!("/v2/{name}/manifests/{tag}"), manifest(layer));
    }
    root
}

#[test]
fn a_directory_by_repository_and_by_depth() {
    let (shared, own) = ("shared".repeat(1000), "own".repeat(100));
    let root = directory(&[
        ("team/a", "v1", &shared),
        ("team/a", "v2", &shared),
        ("team/b", "v1", &shared),
        ("team/b", "own", &own),
        ("other", "v1", "{}"),
    ]);
    let path = root.path().to_str().unwrap();
    let (one, two, three) = (manifest(&shared).len(), manifest(&own).len(), manifest("{}").len());
    let (status, output, errors) = du(&[path, "--json"]);
    assert_eq!((status, errors.as_str()), (0, ""));
    let usage: Value = serde_json::from_str(&output).unwrap();
    let line = |name: &str, bytes: usize, own: usize, tags: u8, manifests: u8| {
        json!({ "name": name, "bytes": bytes, "own": own, "tags": tags, "manifests": manifests,
            "repositories": 1 })
    };
    let expected = [
        line("team/b", 2 + 6000 + 300 + one + two, 300 + two, 2, 2),
        line("team/a", 2 + 6000 + one, 0, 2, 1),
        line("other", 2 + three, three, 1, 1),
    ];
    assert_eq!(usage["repositories"], json!(expected));
    let total = 2 + 6000 + 300 + one + two + three;
    assert_eq!(usage["total"]["bytes"], total);
    assert_eq!(usage["quotas"], json!([]));

    let (status, output, _) = du(&[path, "team", "--depth", "1", "--json"]);
    let usage: Value = serde_json::from_str(&output).unwrap();
    let team = 2 + 6000 + 300 + one + two;
    let expected = json!([{ "name": "team", "bytes": team, "own": team - 2, "tags": 4, "manifests": 3,
        "repositories": 2 }]);
    assert_eq!((status, &usage["repositories"]), (0, &expected));
    let (status, output, _) = du(&[path]);
    assert_eq!(status, 0);
    assert!(output.lines().last().unwrap().ends_with("total of 3 repositories"), "{output}");
}

#[test]
fn a_busy_registry_is_asked_again() {
    let contents = r#"{"repositories":[{"name":"a","manifests":1,"tags":1,
        "blobs":[["00000000000000000000000000000001",5]],"rules":["q"]}],"next":"a"}"#;
    let quotas = r#"{"quotas":[{"name":"q","repositories":"**","bytes_limit":10,"bytes":5,
        "counted":1}]}"#;
    let busy = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"try again"}]}"#;
    let (url, seen) =
        serve(&[(429, busy), (200, contents), (200, r#"{"repositories":[]}"#), (200, quotas)]);
    let (status, output, errors) = du(&[&url]);
    assert_eq!((status, errors.as_str()), (0, ""));
    assert!(output.ends_with("5 bytes of 10 bytes                    1  q (**)\n"), "{output}");
    let seen = seen.lock().unwrap();
    assert!(seen[2].starts_with("GET /v2/_roadstead/collect/contents?last=a HTTP"), "{seen:?}");
    assert!(seen[3].starts_with("GET /v2/_roadstead/collect/quotas HTTP"), "{seen:?}");
}

#[test]
fn an_endless_answer_ends() {
    let (url, _) = serve(&[(200, r#"{"repositories":[],"next":"a"}"#); 3]);
    let (status, _, errors) = du(&[&url]);
    assert_eq!(status, 1);
    assert!(errors.contains("does not go on"), "{errors}");
    let (url, _) = serve(&[(404, "")]);
    let (status, _, errors) = du(&[&url]);
    assert_eq!(status, 1);
    assert!(errors.contains("it is not Roadstead, or older"), "{errors}");
}

#[test]
fn targets_that_are_none() {
    assert_eq!(du(&["/nonexistent"]).0, 2);
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_str().unwrap();
    let (status, _, errors) = du(&[path, "--user", "a", "--password-stdin"]);
    assert_eq!(status, 2);
    assert!(errors.contains("not for storages"), "{errors}");
}
