//! `roadstead rm` in a data directory.

use crate::local::{Local, LocalRegistry};
use bytes::Bytes;
use clap::Parser;
use roadstead_operator::registry::Registry as _;
use roadstead_operator::rm::{Args, Streams, run};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// The status, what was printed, and what went wrong.
fn rm(arguments: &[&str]) -> (u8, String, String) {
    let args = Cli::try_parse_from([&["rm"], arguments].concat());
    let args = args.unwrap_or_else(|error| panic!("{error}")).args;
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut streams = Streams {
        input: &mut &b"secret"[..],
        output: &mut output,
        errors: &mut errors,
        screen: roadstead_operator::terminal::Screen::None,
    };
    let status = run(&args, &Local, &mut streams);
    (status, String::from_utf8(output).unwrap(), String::from_utf8(errors).unwrap())
}

/// A directory with `team/app`, whose tags lead to manifests of these artifact types.
fn directory(tags: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let registry = LocalRegistry::open(root.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (tag, of) in tags {
        let kind = "application/vnd.oci.image.index.v1+json";
        let body = format!(
            r#"{{"schemaVersion":2,"mediaType":"{kind}","artifactType":"{of}","manifests":[]}}"#
        );
        let request = http::Request::put(format!("/v2/team/app/manifests/{tag}"));
        let request = request.header("content-type", kind).body(Bytes::from(body)).unwrap();
        let answer = runtime.block_on(registry.request(request, 1000)).unwrap();
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    }
    root
}

#[test]
fn a_directory_needs_no_registry() {
    let root = directory(&[("a", "x/one"), ("b", "x/one"), ("c", "x/two"), ("d", "x/three")]);
    let path = root.path().to_str().unwrap();
    let tags = || {
        let names = std::fs::read_dir(
            root.path().join("docker/registry/v2/repositories/team/app/_manifests/tags"),
        );
        let mut names: Vec<String> = names
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let rm = |arguments: &[&str]| rm(&[&["--directory", path], arguments].concat());
    let (status, said, problem) = rm(&["-n", "team/app:a"]);
    assert_eq!((status, tags().len()), (0, 4), "{problem}");
    assert!(said.starts_with("would delete team/app:a, which leads to sha256:"), "{said}");
    let (status, said, problem) = rm(&["team/app:a"]);
    assert_eq!((status, tags()), (0, vec!["b".into(), "c".into(), "d".into()]), "{problem}");
    // The rest is done by what it says.
    let (_, further) = said.split_once("roadstead rm --directory ").unwrap();
    let further: Vec<&str> = further.split_whitespace().collect();
    assert_eq!(further[0], path);
    let (status, _, problem) = rm(&further[1..]);
    assert_eq!((status, tags()), (0, vec!["c".into(), "d".into()]), "{problem}");
    assert_eq!(rm(&["team/app:a"]).0, 3);
    let (status, said, problem) = rm(&["--repository", "team/app"]);
    assert_eq!((status, tags().len()), (0, 0), "{problem}");
    assert!(said.contains("2 tags, 2 manifests"), "{said}");
    assert_eq!(rm(&["--repository", "team/app"]).0, 3);
}

#[test]
fn storages_are_no_registries() {
    for (arguments, expected, said) in [
        (&["--directory", "/x", "localhost:5000/a:v1"][..], 2, "name"),
        (&["--directory", "/x", "a"], 2, "such as a:latest"),
        (&["--directory", "/x", "--user", "alice", "--password-stdin", "a:v1"], 2, "--user"),
        (&["--config", "/x.yml", "a:v1"], 1, "cannot read /x.yml"),
    ] {
        let (status, _, problem) = rm(arguments);
        assert_eq!(status, expected, "{arguments:?}: {problem}");
        assert!(problem.contains(said), "{problem}");
    }
}
