//! Archives that are served as they are.

use crate::content::{Content, Upload};
use crate::start::{assert_says, refusal};
use crate::support::{Client, TEST_LIMIT, ask, build, code, logged, request, within};
use bytes::Bytes;
use http::header;
use http_body_util::BodyExt as _;
use roadstead_tests::{Registry, command, digest, send};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio::task::JoinSet;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The layer of the image: a few pieces, and no whole number of them.
const LAYER: Content = Content { seed: 5, size: 3 * 1024 * 1024 + 77 };

/// Clients that pull at once.
const CLIENTS: usize = 200;

/// Clients that read parts at once, how many each, of how many bytes, and how far apart.
const READERS: u64 = 16;
const PARTS: u64 = 50;
const PART: u64 = 60_001;
const STEP: u64 = 3677;

/// Resident memory that the host may use meanwhile, in bytes: far less than what they pull.
const MEMORY_LIMIT: u64 = 200 * 1024 * 1024;

/// A tar file of regular files.
fn tar(members: &[(String, Bytes)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in members {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[148..156].fill(b' ');
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.extend(header);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.extend([0; 1024]);
    archive
}

/// An OCI layout in a tar file: contents, and what its index lists.
#[derive(Default)]
struct Layout {
    members: Vec<(String, Bytes)>,
    listed: Vec<Value>,
}

impl Layout {
    fn blob(&mut self, bytes: Bytes) -> Value {
        let (digest, size) = (digest(&bytes), bytes.len());
        self.members.push((format!("blobs/{}", digest.replace(':', "/")), bytes));
        json!({"mediaType": "a/b", "digest": digest, "size": size})
    }

    /// Adds an image of these blobs, and returns its digest.
    fn image(&mut self, config: &Value, layers: &[Value], also: &Value, name: &Value) -> String {
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        });
        let properties = also.as_object().unwrap().clone();
        manifest.as_object_mut().unwrap().extend(properties);
        let mut descriptor = self.blob(serde_json::to_vec(&manifest).unwrap().into());
        descriptor["mediaType"] = json!(MANIFEST);
        descriptor["annotations"] = name.clone();
        let digest = descriptor["digest"].as_str().unwrap().to_owned();
        self.listed.push(descriptor);
        digest
    }

    fn write(mut self, path: &Path) {
        let index = json!({"schemaVersion": 2, "manifests": self.listed}).to_string();
        let layout = json!({"imageLayoutVersion": "1.0.0"}).to_string();
        self.members.push(("index.json".to_owned(), index.into()));
        self.members.push(("oci-layout".to_owned(), layout.into()));
        fs::write(path, tar(&self.members)).unwrap();
    }
}

/// The name that Docker gives an image in an archive.
fn named(name: &str) -> Value {
    let tag = name.rsplit(':').next();
    json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag})
}

/// An archive with an image of two layers and its signature. Returns their digests.
fn archive(path: &Path, name: &str) -> (String, String) {
    let mut layout = Layout::default();
    let config = layout.blob("{}".into());
    let layers = [layout.blob(LAYER.bytes()), layout.blob(Bytes::from_static(b"x"))];
    let image = layout.image(&config, &layers, &json!({}), &named(name));
    let subject = json!({"mediaType": MANIFEST, "digest": image, "size": 7});
    let also = json!({
        "subject": subject, "artifactType": "sig/nature", "annotations": {"by": "somebody"},
    });
    let signature = layout.image(&config, &[], &also, &json!({}));
    layout.write(path);
    (image, signature)
}

fn serve(paths: &[PathBuf]) -> Command {
    let mut command = command(["serve"]);
    command.args(paths).env("REGISTRY_HTTP_ADDR", "127.0.0.1:0");
    command
}

async fn get(address: &str, path: &str) -> roadstead_tests::Answer {
    ask(address, request(&format!("GET {path}"), ""), 200).await
}

async fn get_json(address: &str, path: &str) -> Value {
    serde_json::from_slice(get(address, path).await.body()).unwrap()
}

#[tokio::test]
async fn archives_are_a_registry() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (image, signature) = archive(&path("one.tar"), "docker.io/library/alpine:3.20");
    archive(&path("two.tar"), "registry.example:5000/team/app:v1");
    let host = Registry::serve(serve(&[path("one.tar"), path("two.tar")])).unwrap();
    let address = &host.address;
    logged(&host, "2 archives").await;
    logged(&host, "in 2 repositories").await;

    let catalog = get_json(address, "/v2/_catalog").await;
    assert_eq!(catalog, json!({"repositories": ["alpine", "team/app"]}));
    let tags = get_json(address, "/v2/alpine/tags/list").await;
    assert_eq!(tags, json!({"name": "alpine", "tags": ["3.20"]}));
    for reference in ["3.20", &image] {
        let answer = get(address, &format!("/v2/alpine/manifests/{reference}")).await;
        assert_eq!(answer.headers()[header::CONTENT_TYPE], MANIFEST);
        assert_eq!(answer.headers()["docker-content-digest"], image.as_str());
        assert_eq!(digest(answer.body()), image);
    }
    let referrers = get_json(address, &format!("/v2/alpine/referrers/{image}")).await;
    let [referrer] = &referrers["manifests"].as_array().unwrap()[..] else { panic!("{referrers}") };
    assert_eq!(referrer["digest"], signature.as_str());
    assert_eq!(referrer["artifactType"], "sig/nature");
    assert_eq!(referrer["annotations"], json!({"by": "somebody"}));
    get(address, &format!("/v2/alpine/manifests/{signature}")).await;

    let blob = format!("/v2/alpine/blobs/{}", LAYER.digest());
    assert_eq!(*get(address, &blob).await.body(), LAYER.bytes());
    let head = ask(address, request(&format!("HEAD {blob}"), ""), 200).await;
    assert_eq!(head.headers()[header::CONTENT_LENGTH], LAYER.size.to_string());
    for (range, expected) in [("bytes=0-0", 0..1), ("bytes=1048576-2097153", 1_048_576..2_097_154)]
    {
        let part = build(&format!("GET {blob}")).header(header::RANGE, range);
        let part = ask(address, part.body(Bytes::new()).unwrap(), 206).await;
        assert!(*part.body() == LAYER.part(expected), "{range}");
    }
    let beyond = build(&format!("GET {blob}")).header(header::RANGE, "bytes=9999999-");
    ask(address, beyond.body(Bytes::new()).unwrap(), 416).await;
    for path in ["/v2/alpine/manifests/3.21", "/v2/b/manifests/1", "/v2/b/tags/list"] {
        ask(address, request(&format!("GET {path}"), ""), 404).await;
    }
}

#[tokio::test]
async fn nothing_is_pushed_to_archives() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tar");
    let (image, _) = archive(&path, "docker.io/library/alpine:3.20");
    let before = fs::read(&path).unwrap();
    let mut command = serve(std::slice::from_ref(&path));
    command.env("REGISTRY_STORAGE_DELETE_ENABLED", "true");
    let host = Registry::serve(command).unwrap();
    logged(&host, "ignored are REGISTRY_STORAGE_DELETE_ENABLED").await;
    for line in [
        "POST /v2/alpine/blobs/uploads/",
        "PUT /v2/alpine/manifests/new",
        &format!("DELETE /v2/alpine/manifests/{image}"),
        "DELETE /v2/alpine/manifests/3.20",
    ] {
        let answer = ask(&host.address, request(line, "{}"), 405).await;
        assert_eq!(code(answer.body()), "UNSUPPORTED", "{line}");
    }
    assert!(fs::read(&path).unwrap() == before);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn what_no_archive_has_is_said_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("Any Name.tar");
    let mut layout = Layout::default();
    let config = layout.blob("{}".into());
    let lost = json!({"mediaType": "a/b", "digest": digest(b"lost"), "size": 4});
    layout.image(&config, std::slice::from_ref(&lost), &json!({}), &named("quay.io/a/b:1"));
    layout.write(&path);
    let host = Registry::serve(serve(&[path])).unwrap();
    logged(&host, &format!("a/b:1 is incomplete: {}", digest(b"lost"))).await;
    get(&host.address, "/v2/a/b/manifests/1").await;
    let blob = format!("GET /v2/a/b/blobs/{}", digest(b"lost"));
    ask(&host.address, request(&blob, ""), 404).await;
}

/// The layer is larger than a volume, and so in several.
#[tokio::test]
async fn volumes_are_served_together_and_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tar");
    let (image, _) = archive(&path, "docker.io/library/alpine:3.20");
    let source = Registry::serve(serve(&[path])).unwrap();
    let volumes = directory.path().join("volumes");
    fs::create_dir(&volumes).unwrap();
    let mut export = command(["export", &format!("http://{}", source.address)]);
    export.arg("--volume-size").arg("1MiB").arg("-o").arg(volumes.join("v.tar"));
    let output = export.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut files: Vec<_> = fs::read_dir(&volumes).unwrap().map(|it| it.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|it| it == "tar"));
    files.sort();
    assert!(files.len() > 3, "{files:?}");

    let blob = format!("GET /v2/alpine/blobs/{}", LAYER.digest());
    let both = [vec![volumes.clone()], files.iter().rev().cloned().collect()];
    for paths in both {
        let host = Registry::serve(serve(&paths)).unwrap();
        get(&host.address, "/v2/alpine/manifests/3.20").await;
        assert_eq!(*ask(&host.address, request(&blob, ""), 200).await.body(), LAYER.bytes());
        let part = build(&blob).header(header::RANGE, "bytes=1000000-3000000");
        let part = ask(&host.address, part.body(Bytes::new()).unwrap(), 206).await;
        assert!(*part.body() == LAYER.part(1_000_000..3_000_001));
        assert!(!host.log().contains("incomplete"), "{}", host.log());
    }
    let host = Registry::serve(serve(&files[1..])).unwrap();
    logged(&host, "alpine:3.20 is incomplete: ").await;
    logged(&host, " in volume 1").await;
    ask(&host.address, request(&blob, ""), 404).await;
    get(&host.address, &format!("/v2/alpine/manifests/{image}")).await;
}

/// All bodies read the same files, and what is in memory does not grow with clients.
#[tokio::test]
async fn many_clients_pull_from_one_archive() {
    within(TEST_LIMIT, async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alpine.tar");
        archive(&path, "docker.io/library/alpine:3.20");
        let host = Registry::serve(serve(std::slice::from_ref(&path))).unwrap();
        let line = format!("GET /v2/alpine/blobs/{}", LAYER.digest());
        let mut bodies = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = Client::connect(&host.address).await;
            bodies.push(client.ask(build(&line), Upload::empty(), 200).await.into_body());
        }
        #[cfg(target_os = "linux")]
        {
            let links = fs::read_dir(format!("/proc/{}/fd", host.pid())).unwrap();
            let open = links.filter_map(|link| fs::read_link(link.ok()?.path()).ok());
            assert!(open.filter(|file| *file == path).count() <= 2);
        }
        for body in bodies {
            assert!(body.collect().await.unwrap().to_bytes() == LAYER.bytes());
        }
        let memory = host.peak_memory().unwrap_or_default();
        assert!(memory < MEMORY_LIMIT, "{memory} bytes of memory");
    })
    .await;
}

/// Parts that are too short to be handed over to a connection are read from the file that all
/// requests share.
#[tokio::test]
async fn many_clients_read_parts_of_one_archive() {
    within(TEST_LIMIT, async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alpine.tar");
        archive(&path, "docker.io/library/alpine:3.20");
        let host = Registry::serve(serve(&[path])).unwrap();
        let line = format!("GET /v2/alpine/blobs/{}", LAYER.digest());
        let mut clients = JoinSet::new();
        for client in 0..READERS {
            let (address, line) = (host.address.clone(), line.clone());
            clients.spawn(async move {
                let mut connection = Client::connect(&address).await;
                for part in 0..PARTS {
                    let start = (client * PARTS + part) * STEP;
                    let range = format!("bytes={start}-{}", start + PART - 1);
                    let request = build(&line).header(header::RANGE, range);
                    let body = connection.ask(request, Upload::empty(), 206).await.into_body();
                    let bytes = body.collect().await.unwrap().to_bytes();
                    assert!(bytes == LAYER.part(start..start + PART), "from {start}");
                }
            });
        }
        clients.join_all().await;
    })
    .await;
}

#[tokio::test]
async fn users_log_in_to_archives_as_to_any_registry() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tar");
    archive(&path, "docker.io/library/alpine:3.20");
    let mut command = serve(&[path]);

    let users = "alice:$2y$04$otXFflgnRBs5/.9WB5WXoua48NmO/aSlvckSzhnCBf6fuoSZfGhni";
    command.env("REGISTRY_AUTH", "htpasswd").env("REGISTRY_AUTH_HTPASSWD_ENTRIES", users);
    let host = Registry::serve(command).unwrap();
    let tags = request("GET /v2/alpine/tags/list", "");
    assert_eq!(send(&host.address, tags).await.unwrap().status(), 401);
}

#[test]
fn what_cannot_be_served_is_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("a.tar.gz"), [0x1f, 0x8b, 8, 0]).unwrap();
    fs::write(path("broken.tar"), "no archive").unwrap();
    fs::create_dir_all(path("data/docker/registry/v2")).unwrap();
    archive(&path("one.tar"), "docker.io/library/alpine:3.20");
    let mut layout = Layout::default();
    let config = layout.blob("[]".into());
    layout.image(&config, &[], &json!({}), &named("quay.io/alpine:3.20"));
    layout.write(&path("two.tar"));
    fs::write(path("config.yml"), "{}").unwrap();
    for (names, expected) in [
        (&["a.tar.gz"][..], &["a.tar.gz", "is compressed", "gunzip"][..]),
        (&["data"], &["REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY="]),
        (&["missing.tar"], &["missing.tar"]),
        (&["broken.tar"], &["broken.tar"]),
        (&["one.tar", "two.tar"], &["docker.io/alpine:3.20", "quay.io/alpine:3.20"]),
        (&["one.tar", "config.yml"], &["config.yml is given with other files"]),
    ] {
        let paths: Vec<PathBuf> = names.iter().map(|name| path(name)).collect();
        let said = refusal(serve(&paths));
        assert_says(&said, expected);
        assert!(!said.contains("panicked"), "{said}");
    }
}
