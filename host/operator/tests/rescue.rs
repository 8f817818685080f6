//! `roadstead rescue` over directories that the registry serves in this process, and over
//! connections to such a registry.

use crate::content::{Content, LARGE, at, damaged};
use crate::local::{Local, LocalRegistry};
use crate::served::Served;
use bytes::Bytes;
use clap::Parser;
use roadstead_kit::contract::sha256;
use roadstead_operator::gc::Display;
use roadstead_operator::registry::Registry as _;
use roadstead_operator::rescue::{Args, Streams, run};
use serde_json::{Value, json};
use std::path::Path;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// The status, what was printed, and what went wrong.
fn rescue(arguments: &[&str]) -> (u8, String, String) {
    let nowhere = ["rescue", "--docker-directory", "/nonexistent"];
    let config = ["--docker-config", "/nonexistent"];
    let config: &[&str] = if arguments.contains(&"--docker-config") { &[] } else { &config };
    let args = Cli::try_parse_from([&nowhere[..], config, arguments].concat());
    let args = args.unwrap_or_else(|error| panic!("{error}")).args;
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut streams = Streams {
        input: &mut &b""[..],
        output: &mut output,
        errors: &mut errors,
        screen: roadstead_operator::terminal::Screen::None,
    };
    let status = run(&args, &Local, &mut Display::nothing(), &mut streams);
    (status, String::from_utf8(output).unwrap(), String::from_utf8(errors).unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

#[test]
fn what_a_collector_destroyed_is_found_and_brought_back() {
    let content = Content::new();
    let (root, data, backup) = block_on(damaged(&content));
    let (status, said, problem) = rescue(&[text(&data)]);
    assert_eq!((status, problem.as_str()), (1, ""), "{said}");
    for number in [0, 1] {
        let digest = content.digest(number);
        let index = &content.digest(3)[..19];
        let line =
            format!("team/app: manifest {digest} (a platform of {index}): found, but its part");
        assert!(said.contains(&line), "the bytes are there still: {said}");
    }
    let signature = format!(
        "manifest {} (a signature, SBOM or other referrer): found nowhere",
        content.digest(2)
    );
    assert!(said.contains(&signature), "{said}");
    assert!(said.contains("name where they may be: --from"), "{said}");

    let (status, said, _) = rescue(&[text(&data), "--from", text(&backup), "--dry-run"]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("8 can be brought back"), "{said}");
    assert_eq!(block_on(content.missing(&data)).len(), 8);

    let (status, said, problem) = rescue(&[text(&data), "--from", text(&backup)]);
    assert_eq!((status, problem.as_str()), (0, ""), "{said}");
    assert!(said.contains("8 brought back"), "{said}");
    assert_eq!(block_on(content.missing(&data)), [""; 0]);
    let referrers = format!("/v2/team/app/referrers/{}", content.digest(3));
    let request = http::Request::get(referrers).body(Bytes::new()).unwrap();
    let answer = block_on(LocalRegistry::open(&data).request(request, 10_000)).unwrap();
    assert!(String::from_utf8_lossy(&answer.body).contains(&content.digest(2)));

    let (status, said, _) = rescue(&[text(&data)]);
    assert_eq!(status, 0);
    assert!(said.contains("1 repository, 4 manifests and 1 tag\nnothing is lost"), "{said}");
    let uploads = data.join("docker/registry/v2/repositories/team/app/_uploads");
    assert!(std::fs::read_dir(uploads).is_ok_and(|mut left| left.next().is_none()));
    drop(root);
}

#[test]
fn results_are_json_for_programs() {
    let content = Content::new();
    let (_root, data, backup) = block_on(damaged(&content));
    let (status, said, _) = rescue(&["--json", text(&data)]);
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &json["counts"]["not_found"]), (1, &7.into()), "{json}");
    // Where indexes may lack platforms, those are not lost; here their bytes are there still.
    assert_eq!(json["counts"]["left_out"], 0);
    let (status, said, _) = rescue(&["--json", text(&data), "--from", text(&backup)]);
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &json["counts"]["brought_back"]), (0, &8.into()), "{json}");
    let lost = json["lost"].as_array().unwrap();
    let signature = lost.iter().find(|one| one["digest"] == content.digest(2)).unwrap();
    assert_eq!(signature["outcome"], "brought-back");
    assert_eq!(
        (&signature["kind"], &signature["from"]),
        (&"manifest".into(), &text(&backup).into())
    );
    assert_eq!(signature["needed_as"], json!(["referrer"]));
}

#[test]
fn indexes_may_lack_platforms() {
    let content = Content::new();
    let (_root, data, backup) = block_on(damaged(&content));
    for number in [0, 1] {
        for root in [&data, &backup] {
            std::fs::remove_dir_all(at(root, &content.digest(number))).unwrap();
        }
    }
    let from = ["--from", text(&backup)];
    let (status, said, _) = rescue(&[&[text(&data)], &from[..]].concat());
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("2 found nowhere"), "{said}");
    let (status, said, _) = rescue(&[&[text(&data), "--sparse"], &from[..]].concat());
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("2 left out of indexes"), "{said}");
}

/// What garbage collection has condemned comes back by a pull; nothing has to be sent.
#[test]
fn condemned_content_is_given_back() {
    let content = Content::new();
    let root = tempfile::tempdir().unwrap();
    block_on(content.push(root.path()));
    let repository = root.path().join("docker/registry/v2/repositories/team/app");
    let link = sha256(&content.blobs[2]);
    let link = Path::new("layers/sha256").join(link.encoded());
    let moved = repository.join("_condemned").join(&link);
    std::fs::create_dir_all(moved.parent().unwrap()).unwrap();
    std::fs::rename(repository.join("_layers/sha256").join(link.file_name().unwrap()), &moved)
        .unwrap();
    let (status, said, _) = rescue(&[text(root.path())]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("nothing is lost"), "{said}");
    assert_eq!(block_on(content.missing(root.path())), [""; 0]);
}

#[test]
fn layouts_and_archives_are_sources() {
    let content = Content::new();
    for archive in [false, true] {
        let (root, data, _) = block_on(damaged(&content));
        let mut from = root.path().join("layout");
        content.layout(&from);
        if archive {
            let tar = root.path().join("layout.tar");
            let mut command = std::process::Command::new("tar");
            command.arg("-cf").arg(&tar).arg("-C").arg(&from).arg(".");
            let Ok(status) = command.status() else { return };
            assert!(status.success());
            from = tar;
        }
        let (status, said, problem) = rescue(&[text(&data), "--from", text(&from)]);
        assert_eq!((status, problem.as_str()), (0, ""), "{said}");
        assert_eq!(block_on(content.missing(&data)), [""; 0]);
    }
}

/// What does not have its digest is not taken, and the next source is asked.
#[test]
fn forged_content_is_not_brought_back() {
    let content = Content::new();
    let (root, data, backup) = block_on(damaged(&content));
    let forged = root.path().join("forged");
    content.layout(&forged);
    for file in std::fs::read_dir(forged.join("blobs/sha256")).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let (status, said, _) = rescue(&[text(&data), "--from", text(&forged)]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("do not have this digest"), "{said}");
    assert!(said.contains("not brought back (") && said.contains("400 Bad Request"), "{said}");
    assert_eq!(block_on(content.missing(&data)).len(), 8);
    let (status, said, _) =
        rescue(&[text(&data), "--from", text(&forged), "--from", text(&backup)]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(block_on(content.missing(&data)), [""; 0]);
}

/// The damaged registry and the source are both elsewhere.
#[test]
fn large_blobs_are_brought_back_in_pieces() {
    let content = Content::with_layer(LARGE);
    let (_root, data, backup) = block_on(damaged(&content));
    let (target, source) = (Served::start(&data), Served::start(&backup));
    let (status, said, problem) = rescue(&[&target.url(), "--from", &source.url()]);
    assert_eq!((status, problem.as_str()), (0, ""), "{said}");
    assert_eq!(block_on(content.missing(&data)), [""; 0]);
    let large = sha256(&content.blobs[3]);
    let read = source.seen(&format!("GET /v2/team/app/blobs/{large}"));
    assert_eq!(read, 3, "its size, and two pieces");
    assert!(target.seen("PATCH /v2/team/app/") >= 6);
    // Elsewhere there is no such prefix.
    let (status, said, _) = rescue(&[&target.url(), "--from", &format!("{}/old", source.url())]);
    assert_eq!(status, 0, "{said}");
}

#[test]
fn a_prefix_names_other_repositories() {
    let content = Content::new();
    let (_root, data, backup) = block_on(damaged(&content));
    let source = Served::start(&backup);
    let (status, said, _) = rescue(&[text(&data), "--from", &format!("{}/mirror", source.url())]);
    assert_eq!(status, 1, "{said}");
    assert!(source.seen("GET /v2/mirror/team/app/") > 0);
}

/// Blobs may be in an object store: the login stays with the registry.
#[test]
fn redirects_are_followed() {
    let content = Content::new();
    let (root, data, backup) = block_on(damaged(&content));
    let store = Served::start(&backup);
    let source = Served::start_with(&backup, Some(store.url()), true);
    // alice:secret
    let config = format!(
        r#"{{"auths":{{"{}":{{"auth":"YWxpY2U6c2VjcmV0"}}}}}}"#,
        source.url().strip_prefix("http://").unwrap()
    );
    std::fs::write(root.path().join("config.json"), config).unwrap();
    let login = ["--docker-config", text(root.path())];
    let arguments = [text(&data), "--from", &source.url()];
    let (status, said, _) = rescue(&[&arguments[..], &login].concat());
    assert_eq!(status, 0, "{said}");
    assert_eq!(block_on(content.missing(&data)), [""; 0]);
    assert!(store.seen("GET /v2/team/app/blobs/") > 0);
    assert_eq!((store.logins(), source.logins() > 0), (0, true));
    // Without a login, it says so.
    let (_root, data, _) = block_on(damaged(&content));
    let (status, said, _) = rescue(&[text(&data), "--from", &source.url()]);
    assert_eq!(status, 1);
    assert!(said.contains("docker login 127.0.0.1"), "{said}");
}

#[test]
fn mistakes_are_explained() {
    let root = tempfile::tempdir().unwrap();
    let data = text(root.path());
    let missing = root.path().join("missing");
    let missing = text(&missing);
    for (arguments, said) in [
        (&[missing][..], "neither a data directory nor"),
        (&[data, "--from", missing], "nor a directory or an archive"),
        (&[data, "--from", data], "docker/registry/v2"),
        (&[data, "--user", "alice"], "docker login"),
    ] {
        let (status, _, problem) = rescue(arguments);
        assert_eq!(status, 2, "{problem}");
        assert!(problem.contains(said), "{problem}");
    }
    // Of another kind, or older.
    let other = Served::nothing();
    let (status, _, problem) = rescue(&[&other.url()]);
    assert_eq!(status, 2);
    assert!(problem.contains("it is not Roadstead, or older"), "{problem}");
}
