//! `roadstead history`: of this registry, by its URL and in a data directory, and of registries
//! that answer otherwise.

use crate::local::{Local, LocalRegistry};
use crate::served::Served;
use bytes::Bytes;
use clap::Parser;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use roadstead_operator::history::{Args, Streams, run};
use roadstead_operator::registry::{
    Access, Content, Incoming, Opener, Registry, Storage, Unanswered,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn history_by(opener: &impl Opener, arguments: &[&str]) -> (u8, String, String) {
    let args = Cli::try_parse_from([&["history"], arguments].concat());
    let args = args.unwrap_or_else(|error| panic!("{error}")).args;
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut streams = Streams {
        input: &mut &b"secret"[..],
        output: &mut output,
        errors: &mut errors,
        screen: roadstead_operator::terminal::Screen::None,
    };
    let status = run(&args, opener, &mut streams);
    (status, String::from_utf8(output).unwrap(), String::from_utf8(errors).unwrap())
}

/// The status, what was printed, and what went wrong.
fn history(arguments: &[&str]) -> (u8, String, String) {
    history_by(&Local, arguments)
}

/// Pushes a manifest of this artifact type to `team/app:latest`, and returns its digest and size.
fn push(root: &Path, of: &str) -> (String, usize) {
    let kind = "application/vnd.oci.image.index.v1+json";
    let body = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","artifactType":"{of}","manifests":[]}}"#
    );
    let size = body.len();
    let request = Request::put("/v2/team/app/manifests/latest").header("content-type", kind);
    let request = request.body(Bytes::from(body)).unwrap();
    let registry = LocalRegistry::open(root);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answer = runtime.block_on(registry.request(request, 1000)).unwrap();
    assert_eq!(answer.status, 201);
    (answer.header("docker-content-digest").unwrap().to_owned(), size)
}

#[test]
fn what_a_tag_has_led_to() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_str().unwrap();
    let (one, _) = push(root.path(), "x/one");
    roadstead_kit::directory::make_older(root.path(), std::time::Duration::from_mins(2));
    let (two, size) = push(root.path(), "x/two");
    let served = Served::start(root.path());
    let url = format!("{}/team/app:latest", served.url());
    for target in [&["--directory", path, "team/app:latest"][..], &[&url]] {
        let (status, said, problem) = history(target);
        assert_eq!(status, 0, "{problem}");
        let lines: Vec<Vec<&str>> =
            said.lines().map(|line| line.split_whitespace().collect()).collect();
        let [newest, oldest] = lines.as_slice() else { panic!("{said}") };
        assert_eq!((newest[1], oldest[1]), (two.as_str(), one.as_str()));
        assert!(
            newest[0].len() == 20 && newest[0].ends_with('Z') && oldest[0] < newest[0],
            "{said}"
        );
        assert_eq!(
            newest[2..],
            [size.to_string().as_str(), "application/vnd.oci.image.index.v1+json"]
        );
        let (status, said, problem) = history(&[target, &["--json", "-n", "1"]].concat());
        assert_eq!(status, 0, "{problem}");
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&said["name"], &said["tag"]), (&json!("team/app"), &json!("latest")));
        assert_eq!(said["entries"].as_array().unwrap().len(), 1);
        let entry = &said["entries"][0];
        assert_eq!((&entry["digest"], &entry["event"]), (&json!(two), &json!("created")));
        assert_eq!(entry["size"], size);
    }
    for (target, expected, reason) in [
        (&["--directory", path, "team/app:none"][..], 3, "no history"),
        (&["--directory", path, "team/none:latest"], 3, "no history"),
        (&["--directory", path, "team/app"], 2, "such as team/app:latest"),
        (&["--directory", path, &format!("team/app@{one}")], 2, "never changes"),
        (&["--directory", path, "--user", "alice", "--password-stdin", "a:v1"], 2, "--user"),
        (&["team/app:latest"], 2, "not a registry"),
        (&["/srv/registry"], 2, "roadstead history --directory"),
        (&["--config", "/x.yml", "a:v1"], 1, "cannot read /x.yml"),
    ] {
        let (status, said, problem) = history(target);
        assert_eq!((status, said.as_str()), (expected, ""), "{target:?}: {problem}");
        assert!(problem.contains(reason), "{target:?}: {problem}");
    }
    let other = Served::nothing();
    let (status, _, problem) = history(&[&format!("{}/a:v1", other.url())]);
    assert_eq!(status, 1);
    assert!(problem.contains("does not serve the history"), "{problem}");
}

/// Another registry: what it answers to each path, with the path of the next page.
struct Scripted(fn(&str) -> (u16, String, Option<String>));

struct Answers(fn(&str) -> (u16, String, Option<String>));

impl Opener for Scripted {
    type Registry = Answers;

    async fn open(&self, _: &Storage, access: Access) -> anyhow::Result<Answers> {
        assert_eq!(access, Access::Read);
        Ok(Answers(self.0))
    }

    fn directory(&self, _: &Storage) -> Option<PathBuf> {
        None
    }
}

impl Registry for Answers {
    async fn exchange(&self, request: Request<Content>) -> Result<Response<Incoming>, Unanswered> {
        let (status, body, next) = (self.0)(&request.uri().to_string());
        let mut response = Response::builder().status(status);
        if let Some(next) = next {
            response = response.header("link", next);
        }
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
        Ok(response.body(body).unwrap())
    }
}

fn scripted(
    answer: fn(&str) -> (u16, String, Option<String>),
    more: &[&str],
) -> (u8, String, String) {
    history_by(&Scripted(answer), &[&["--directory", "/x", "a:v1"], more].concat())
}

fn index(entries: &[&str]) -> String {
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","))
}

#[test]
fn as_many_as_are_wanted() {
    // Three on a page, without end, with links as other registries have them.
    let answer = |path: &str| {
        let at = path.split_once("at=").map_or(0, |(_, at)| at.parse::<usize>().unwrap());
        let entries = [0, 1, 2].map(|n| format!(r#"{{"digest":"sha256:{}"}}"#, at + n));
        let next = format!("<https://other.example/v2/a/_oci/x?at={}>; rel=next", at + 3);
        (200, index(&entries.each_ref().map(String::as_str)), Some(next))
    };
    for n in [1, 3, 7] {
        let (status, said, problem) = scripted(answer, &["-n", &n.to_string()]);
        assert_eq!((status, said.lines().count()), (0, n), "{problem}");
        assert!(said.lines().last().unwrap().contains(&format!("sha256:{} ", n - 1)), "{said}");
    }
    assert_eq!(scripted(answer, &[]).1.lines().count(), 1000);
    for n in ["0", "100001", "x"] {
        assert!(Cli::try_parse_from(["history", "-n", n, "a.example/a:v1"]).is_err());
    }
}

#[test]
fn an_endless_history_ends() {
    let empty = |path: &str| {
        let at = path.split_once("at=").map_or(0, |(_, at)| at.parse::<usize>().unwrap());
        (200, index(&[]), Some(format!("</v2/a/x?at={}>; rel=\"next\"", at + 1)))
    };
    let (status, _, problem) = scripted(empty, &[]);
    assert_eq!(status, 1);
    assert!(problem.contains("does not end"), "{problem}");
    // One that leads to itself, or elsewhere, is the last.
    let itself = |path: &str| {
        (200, index(&[r#"{"digest":"sha256:1"}"#]), Some(format!("<{path}>; rel=\"next\"")))
    };
    assert_eq!(scripted(itself, &[]).1.lines().count(), 1);
}

#[test]
fn answers_of_other_registries() {
    const TIME: &str = "org.opencontainers.distribution.tag.timestamp";
    const EVENT: &str = "org.opencontainers.distribution.tag.event";
    // What is deleted, what has no annotations, and what a terminal would interpret.
    let events = |_: &str| {
        let deleted = format!(
            r#"{{"mediaType":"x/y","size":7,"digest":"sha256:1","annotations":{{"{TIME}":"2026-05-04T03:02:01.25Z","{EVENT}":"deleted"}}}}"#
        );
        let strange = format!(
            r#"{{"mediaType":"\u001b[31m","size":1,"digest":"sha256:2","annotations":{{"{TIME}":"\u0007"}}}}"#
        );
        (200, index(&[&deleted, &strange, r#"{"digest":"sha256:3"}"#]), None)
    };
    let (status, said, problem) = scripted(events, &[]);
    assert_eq!(status, 0, "{problem}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "2026-05-04T03:02:01Z  sha256:1         7  x/y  deleted");
    assert!(lines[1].contains("?[31m") && !said.contains('\u{1b}'), "{said}");
    assert_eq!(lines.len(), 3);
    for (answer, reason) in [
        ((|_: &str| (200, "<html>".to_owned(), None)) as fn(&str) -> _, "the answer is no history"),
        (|_| (200, r#"{"manifests":[{}]}"#.to_owned(), None), "the answer is no history"),
        (|_| (404, String::new(), None), "does not serve the history"),
        (|_| (403, r#"{"errors":[{"message":"the message"}]}"#.to_owned(), None), "the message"),
        (|_| (200, " ".repeat(2 * 1024 * 1024), None), "too long"),
    ] {
        let (status, said, problem) = scripted(answer, &[]);
        assert_eq!((status, said.as_str()), (1, ""), "{problem}");
        assert!(problem.contains(reason), "{problem}");
    }
}
