//! `roadstead retention`: over a data directory with policies, and of registries that answer
//! otherwise.

use crate::local::LocalRegistry;
use bytes::Bytes;
use clap::Parser;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use roadstead_bridge::retention::TagAnswer;
use roadstead_operator::registry::{
    Access, Content, Incoming, Opener, Registry, Storage, Unanswered,
};
use roadstead_operator::retention::{Args, Streams, run};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

const POLICY: [(&str, &str); 1] = [(
    "REGISTRY_POLICY_RETENTION_POLICIES",
    r#"{"repositories": "team/*", "keeptags": [{"patterns": "v.*", "pushedwithin": "30d"}]}"#,
)];

/// The status, what was printed, and what went wrong.
fn retention(opener: &impl Opener, arguments: &[&str]) -> (u8, String, String) {
    let args = Cli::try_parse_from([&["retention"], arguments].concat());
    let args = args.unwrap_or_else(|error| panic!("{error}")).args;
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut streams = Streams {
        input: &mut &b""[..],
        output: &mut output,
        errors: &mut errors,
        screen: roadstead_operator::terminal::Screen::None,
    };
    let status = run(&args, opener, &mut streams);
    (status, String::from_utf8(output).unwrap(), String::from_utf8(errors).unwrap())
}

/// Opens data directories with the policy.
struct WithPolicy;

impl Opener for WithPolicy {
    type Registry = LocalRegistry;

    async fn open(&self, storage: &Storage, access: Access) -> anyhow::Result<LocalRegistry> {
        assert_eq!(access, Access::Read);
        match storage {
            Storage::Directory(root) => Ok(LocalRegistry::with(root, &POLICY)),
            Storage::Config(file) => anyhow::bail!("cannot read {}", file.display()),
        }
    }

    fn directory(&self, _: &Storage) -> Option<PathBuf> {
        None
    }
}

#[test]
fn what_expires_and_why() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_str().unwrap();
    let kind = "application/vnd.oci.image.index.v1+json";
    let body = format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","manifests":[]}}"#);
    let registry = LocalRegistry::open(root.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for place in ["team/app/manifests/v1", "team/app/manifests/main", "other/manifests/v1"] {
        let request = Request::put(format!("/v2/{place}")).header("content-type", kind);
        let request = request.body(Bytes::from(body.clone())).unwrap();
        assert_eq!(runtime.block_on(registry.request(request, 1000)).unwrap().status, 201);
    }
    roadstead_kit::directory::make_older(root.path(), Duration::from_hours(24 * 31));
    let ask =
        |arguments: &[&str]| retention(&WithPolicy, &[arguments, &["--directory", path]].concat());
    let (status, said, problem) = ask(&["list"]);
    assert_eq!((status, problem.as_str()), (0, ""));
    assert!(said.starts_with("team/app:v1  pushed ") && !said.contains("main"), "{said}");
    assert!(said.ends_with("policy.retention.dryrun is set\n"), "{said}");
    let said: Value = serde_json::from_str(&ask(&["list", "--json"]).1).unwrap();
    assert_eq!(said["repositories"][0]["tags"][0]["tag"], "v1");
    assert_eq!(
        (&said["dryRun"], &said["repositories"][0]["passedOver"]),
        (&true.into(), &false.into())
    );
    for (tag, status, expected) in [
        ("team/app:v1", 0, "team/app:v1 expires, and stays, as policy.retention.dryrun is set"),
        ("team/app:v1", 0, "\npolicy 1 (team/*)\n  keeptags 1: pushedwithin 30d: does not keep it"),
        ("team/app:main", 0, "team/app:main stays: no pattern of keeptags fits it"),
        ("other:v1", 0, "other:v1 stays: no policy is for this repository"),
        ("team/app:x", 3, "team/app:x is not there: there is no such tag"),
    ] {
        let (found, said, problem) = ask(&["explain", tag]);
        assert_eq!(found, status, "{problem}");
        assert!(said.contains(expected), "{said}");
    }
    let said = ask(&["explain", "--json", "team/app:v1"]).1;
    assert!(serde_json::from_str::<TagAnswer>(&said).unwrap().expires);
    for (arguments, expected, reason) in [
        (&["explain", "--directory", path, "team/app"][..], 2, "such as team/app:latest"),
        (&["explain", "team/app:v1"], 2, "not a registry"),
        (&["list", "--config", "/x.yml"], 1, "cannot read /x.yml"),
        (&["list", "--directory", path, "--user", "alice"], 2, "--user"),
    ] {
        let (status, said, problem) = retention(&WithPolicy, arguments);
        assert_eq!((status, said.as_str()), (expected, ""), "{arguments:?}: {problem}");
        assert!(problem.contains(reason), "{arguments:?}: {problem}");
    }
    assert!(Cli::try_parse_from(["retention", "list"]).is_err());
}

/// Another registry: what it answers to each path.
struct Scripted(fn(&str) -> (u16, String));

impl Opener for Scripted {
    type Registry = Self;

    async fn open(&self, _: &Storage, _: Access) -> anyhow::Result<Self> {
        Ok(Self(self.0))
    }

    fn directory(&self, _: &Storage) -> Option<PathBuf> {
        None
    }
}

impl Registry for Scripted {
    async fn exchange(&self, request: Request<Content>) -> Result<Response<Incoming>, Unanswered> {
        let (status, body) = (self.0)(&request.uri().to_string());
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
        Ok(Response::builder().status(status).body(body).unwrap())
    }
}

#[test]
fn an_endless_list_of_tags_ends() {
    let endless =
        Scripted(|_| (200, r#"{"dry_run":false,"repositories":[],"next":"a"}"#.to_owned()));
    let other = Scripted(|_| (404, "{}".to_owned()));
    let refuses =
        Scripted(|_| (403, r#"{"errors":[{"code":"DENIED","message":"not for you"}]}"#.to_owned()));
    for (registry, expected) in [
        (endless, "does not end"),
        (other, "does not say which tags expire by request: it is not Roadstead, or older"),
        (refuses, "403 Forbidden: not for you"),
    ] {
        let (status, _, problem) = retention(&registry, &["list", "--directory", "/x"]);
        assert_eq!(status, 1);
        assert!(problem.contains(expected), "{problem}");
    }
    // Pages of one repository are put together.
    let pages = |path: &str| {
        let tag = |tag: &str, next: &str| {
            format!(
                r#"{{"dry_run":false,"repositories":[{{"name":"a","policy":"1 (a)",
                   "tags":[{{"tag":"{tag}","pushed":1}}]}}]{next}}}"#
            )
        };
        (
            200,
            if path.contains("last=a:v1") { tag("v2", "") } else { tag("v1", r#","next":"a:v1""#) },
        )
    };
    let (status, said, problem) =
        retention(&Scripted(pages), &["list", "--json", "--directory", "/x"]);
    assert_eq!(status, 0, "{problem}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["repositories"][0]["tags"].as_array().unwrap().len(), 2);
}

#[test]
fn json_is_harmless() {
    let hostile = |path: &str| {
        let text = "\u{9b}2J\u{202e}";
        let list = format!(
            r#"{{"dry_run":false,"repositories":[{{"name":"{text}","policy":"",
            "tags":[]}}]}}"#
        );
        let tag = format!(r#"{{"reason":"{text}","pushed":1}}"#);
        (200, if path.contains("/a/") { tag } else { list })
    };
    for arguments in [&["list"][..], &["explain", "a:v1"]] {
        let arguments = [arguments, &["--json", "--directory", "/x"]].concat();
        let (status, said, problem) = retention(&Scripted(hostile), &arguments);
        assert_eq!(status, 0, "{problem}");
        assert!(said.contains("\\u009b2J\\u202e") && !said.contains('\u{9b}'), "{said}");
    }
}
