//! `roadstead rescue` over directories that the registry serves in this process, and over
//! connections to such a registry.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod local;
mod served;

use bytes::Bytes;
use clap::Parser;
use local::{Local, LocalRegistry};
use roadstead_kit::contract::sha256;
use roadstead_operator::gc::Display;
use roadstead_operator::registry::Registry as _;
use roadstead_operator::rescue::{Args, Streams, run};
use serde_json::{Value, json};
use served::Served;
use std::path::{Path, PathBuf};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// So many bytes that it takes two pieces.
const LARGE: usize = 8 * 1024 * 1024 + 1;

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
    let mut streams = Streams { input: &mut &b""[..], output: &mut output, errors: &mut errors };
    let status = run(&args, &Local, &mut Display::nothing(), &mut streams);
    (status, String::from_utf8(output).unwrap(), String::from_utf8(errors).unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An index of two images, of which one has a large layer, and a signature of it.
struct Content {
    blobs: Vec<Bytes>,
    /// The images, the signature and the index, each with its type.
    manifests: Vec<(&'static str, Bytes)>,
}

impl Content {
    fn new() -> Self {
        Self::with_layer(100)
    }

    /// With a layer of so many bytes.
    fn with_layer(size: usize) -> Self {
        let [one, two] = [&b"config one"[..], b"config two"].map(<[u8]>::to_vec);
        let blobs = [one, two, b"small".to_vec(), vec![7; size], b"signature".to_vec()];
        let blobs = blobs.map(Bytes::from);
        let of = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": sha256(bytes), "size": bytes.len() });
        let image = |config: &Bytes, layer: &Bytes| {
            json!({
                "schemaVersion": 2,
                "mediaType": IMAGE,
                "config": of("application/vnd.oci.image.config.v1+json", config),
                "layers": [of(LAYER, layer)],
            })
        };
        let one = Bytes::from(image(&blobs[0], &blobs[2]).to_string());
        let two = Bytes::from(image(&blobs[1], &blobs[3]).to_string());
        let listed = [of(IMAGE, &one), of(IMAGE, &two)];
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed });
        let index = Bytes::from(index.to_string());
        let mut signature = image(&blobs[0], &blobs[4]);
        signature["subject"] = of(INDEX, &index);
        let signature = Bytes::from(signature.to_string());
        let manifests = vec![(IMAGE, one), (IMAGE, two), (IMAGE, signature), (INDEX, index)];
        Self { blobs: blobs.to_vec(), manifests }
    }

    fn digest(&self, number: usize) -> String {
        sha256(&self.manifests[number].1).to_string()
    }

    async fn push(&self, root: &Path) {
        let registry = LocalRegistry::open(root);
        let send = async |method: &str, path: String, kind: &str, body: &Bytes| {
            let request = http::Request::builder().method(method).uri(path);
            let request = request.header("content-type", kind).body(body.clone()).unwrap();
            let answer = registry.request(request, 10_000).await.unwrap();
            assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        };
        for blob in &self.blobs {
            let path = format!("/v2/team/app/blobs/uploads/?digest={}", sha256(blob));
            send("POST", path, "application/octet-stream", blob).await;
        }
        for (number, (kind, bytes)) in self.manifests.iter().enumerate() {
            let digest = self.digest(number);
            let reference = if *kind == INDEX { "v1" } else { &digest };
            send("PUT", format!("/v2/team/app/manifests/{reference}"), kind, bytes).await;
        }
    }

    /// What cannot be pulled.
    async fn missing(&self, root: &Path) -> Vec<String> {
        let registry = LocalRegistry::open(root);
        let manifests = (0..self.manifests.len()).map(|number| {
            (format!("manifests/{}", self.digest(number)), &self.manifests[number].1)
        });
        let blobs = self.blobs.iter().map(|blob| (format!("blobs/{}", sha256(blob)), blob));
        let mut missing = Vec::new();
        for (path, bytes) in manifests.chain(blobs) {
            let uri = format!("/v2/team/app/{path}");
            let request = http::Request::get(uri).body(Bytes::new()).unwrap();
            let answer = registry.request(request, LARGE + 1).await.unwrap();
            if answer.status != 200 || answer.body != *bytes {
                missing.push(path);
            }
        }
        missing
    }

    /// As an OCI layout.
    fn layout(&self, root: &Path) {
        std::fs::create_dir_all(root.join("blobs/sha256")).unwrap();
        std::fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        for bytes in self.blobs.iter().chain(self.manifests.iter().map(|(_, bytes)| bytes)) {
            std::fs::write(root.join("blobs/sha256").join(sha256(bytes).encoded()), bytes).unwrap();
        }
    }
}

fn at(root: &Path, digest: &str) -> PathBuf {
    let hex = digest.strip_prefix("sha256:").unwrap();
    root.join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex)
}

/// What distribution's collector does with `-m`: the images of an index and the referrers
/// are no longer held; the bytes of what only they have are gone, but not those of the
/// index's manifests.
fn collect(root: &Path, content: &Content) {
    let revisions = root.join("docker/registry/v2/repositories/team/app/_manifests/revisions");
    for number in [0, 1, 2] {
        let digest = content.digest(number);
        let hex = digest.strip_prefix("sha256:").unwrap();
        std::fs::remove_dir_all(revisions.join("sha256").join(hex)).unwrap();
    }
    std::fs::remove_dir_all(at(root, &content.digest(2))).unwrap();
    for blob in &content.blobs {
        std::fs::remove_dir_all(at(root, sha256(blob).as_str())).unwrap();
    }
}

/// A registry that was damaged, and a backup of before.
async fn damaged(content: &Content) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let (data, backup) = (root.path().join("data"), root.path().join("backup"));
    for place in [&data, &backup] {
        std::fs::create_dir(place).unwrap();
        content.push(place).await;
        assert_eq!(content.missing(place).await, [""; 0]);
    }
    collect(&data, content);
    assert_eq!(content.missing(&data).await.len(), 8);
    (root, data, backup)
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
    for (arguments, said) in [
        (&["/nonexistent"][..], "neither a data directory nor"),
        (&[data, "--from", "/nonexistent"], "nor a directory or an archive"),
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
