//! Images in a data directory, and the commands on images as somebody types them.

use crate::local::{Local, LocalRegistry};
use bytes::Bytes;
use clap::Parser;
use roadstead_kit::contract::sha256;
use roadstead_operator::registry::Registry as _;
use roadstead_operator::terminal::Screen;
use roadstead_operator::{Streams, cat, diff, inspect, login, ls, tag, tags};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

#[derive(Parser)]
enum Cli {
    Cat(cat::Args),
    Diff(diff::Args),
    Inspect(inspect::Args),
    Login(login::Args),
    Logout(login::LogoutArgs),
    Ls(ls::Args),
    Tag(tag::Args),
    Tags(tags::Args),
}

/// The status, what was printed, and what went wrong.
pub(crate) fn run_on(screen: Screen, input: &[u8], arguments: &[&str]) -> (u8, Vec<u8>, String) {
    let mut nowhere = Vec::new();
    if arguments[0] != "logout" {
        nowhere.extend(["--docker-directory", "/nonexistent"]);
    }
    if !arguments.contains(&"--docker-config") {
        nowhere.extend(["--docker-config", "/nonexistent"]);
    }
    let words = [&["roadstead"], &arguments[..1], &nowhere[..], &arguments[1..]].concat();
    let command = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut input = input;
    let mut streams =
        Streams { input: &mut input, output: &mut output, errors: &mut errors, screen };
    let status = match command {
        Cli::Cat(args) => cat::run(&args, &Local, &mut streams),
        Cli::Diff(args) => diff::run(&args, &Local, &mut streams),
        Cli::Inspect(args) => inspect::run(&args, &Local, &mut streams),
        Cli::Login(args) => login::run(&args, &mut streams),
        Cli::Logout(args) => login::run_logout(&args, &mut streams),
        Cli::Ls(args) => ls::run(&args, &Local, &mut streams),
        Cli::Tag(args) => tag::run(&args, &Local, &mut streams),
        Cli::Tags(args) => tags::run(&args, &Local, &mut streams),
    };
    (status, output, String::from_utf8(errors).unwrap())
}

/// The same, of what prints text.
pub(crate) fn run(arguments: &[&str]) -> (u8, String, String) {
    let (status, output, errors) = run_on(Screen::None, b"secret", arguments);
    (status, String::from_utf8(output).unwrap(), errors)
}

/// What a command prints that succeeds.
pub(crate) fn succeed(arguments: &[&str]) -> String {
    let (status, output, errors) = run(arguments);
    assert_eq!((status, errors.as_str()), (0, ""), "{arguments:?}: {output}");
    output
}

/// The same as JSON.
pub(crate) fn json_of(arguments: &[&str]) -> Value {
    serde_json::from_str(&succeed(&[arguments, &["-o", "json"]].concat())).unwrap()
}

pub(crate) fn digest(bytes: impl AsRef<[u8]>) -> String {
    sha256(bytes.as_ref()).to_string()
}

/// A descriptor.
pub(crate) fn of(kind: &str, bytes: impl AsRef<[u8]>) -> Value {
    let bytes = bytes.as_ref();
    json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() })
}

/// A manifest of an image.
pub(crate) fn image(config: &str, layers: &[&str]) -> Value {
    let layers: Vec<_> = layers.iter().map(|layer| of(LAYER, layer)).collect();
    json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": of(CONFIG, config), "layers": layers })
}

/// A data directory.
pub(crate) struct Data(TempDir);

impl Data {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn text(&self) -> &str {
        self.path().to_str().unwrap()
    }

    fn send(&self, method: &str, path: &str, kind: &str, body: &str) {
        let registry = LocalRegistry::open(self.path());
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("content-type", kind).body(Bytes::from(body.to_owned()));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let answer = runtime.block_on(registry.request(request.unwrap(), 10_000)).unwrap();
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    }

    pub(crate) fn blob(&self, name: &str, blob: &str) {
        let path = format!("/v2/{name}/blobs/uploads/?digest={}", digest(blob));
        self.send("POST", &path, "application/octet-stream", blob);
    }

    /// Pushes a manifest under a tag, or by its digest, and gives its bytes.
    pub(crate) fn manifest(&self, name: &str, tag: Option<&str>, manifest: &Value) -> String {
        let text = manifest.to_string();
        let reference = tag.map_or_else(|| digest(&text), str::to_owned);
        let kind = manifest["mediaType"].as_str().unwrap();
        self.send("PUT", &format!("/v2/{name}/manifests/{reference}"), kind, &text);
        text
    }

    /// Pushes an image with its blobs, and gives the bytes of its manifest.
    pub(crate) fn image(
        &self,
        name: &str,
        tag: Option<&str>,
        config: &Value,
        layers: &[&str],
    ) -> String {
        let config = config.to_string();
        for blob in layers.iter().chain([&config.as_str()]) {
            self.blob(name, blob);
        }
        self.manifest(name, tag, &image(&config, layers))
    }
}
