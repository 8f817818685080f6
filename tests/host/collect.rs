//! Garbage collection: driven by `serve`, and by the commands.

use crate::content::Content;
use crate::disk::{Disk, disk_usage, files};
use crate::images::{Image, pull, put_manifest};
use crate::start::{assert_says, refusal};
use crate::support::{TEST_LIMIT, ask, build, logged, push_blob, request, within};
use bytes::Bytes;
use roadstead_tests::{BY_SLICES, Registry, command, digest, make_older, runs_by_slices};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub const DELETE: (&str, &str) = ("REGISTRY_STORAGE_DELETE_ENABLED", "true");
const SLICE: &str = "POST /v2/_roadstead/collect";

/// The shortest waits that the settings allow.
pub const WAITS: [(&str, &str); 2] = [
    ("REGISTRY_STORAGE_MAINTENANCE_GC_GRACE", "1h"),
    ("REGISTRY_STORAGE_MAINTENANCE_GC_KEEP", "2h"),
];
pub const HOUR: Duration = Duration::from_hours(1);

/// Bytes of links, records and the like, at most.
const BESIDES: u64 = 16 * 1024;

/// The host begins at once, and again and again.
const HURRY: (&str, &str) = (
    "ROADSTEAD_TEST_GC",
    r#"{"first":0,"overrides":{"interval":0,"grace":60000,"keep":120000,"exclusive":false}}"#,
);

/// What a command that succeeds prints.
pub fn printed(arguments: &[&str]) -> String {
    printed_by(&mut command(arguments))
}

pub fn printed_by(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The report of a run in a directory that is not served, with the waits [`WAITS`].
fn report(flags: &[&str], root: &Path) -> Value {
    let arguments = [&["gc", "--json", text(root)], flags].concat();
    let printed = printed_by(command(&arguments).envs(WAITS));
    let mut json: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(json["status"], "done", "{json}");
    json["report"].take()
}

/// An image, and its layer's size in bytes.
pub fn image(seed: u64, size: u64) -> Image {
    let config = Content { seed, size: 500 };
    Image { config, layer: Content { seed: seed + 1000, size } }
}

pub async fn push(address: &str, repository: &str, image: Image) {
    image.push_blobs(address, repository).await;
    ask(address, put_manifest(repository, "latest", image.manifest()), 201).await;
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Slices go on beside requests, and end with the process.
#[tokio::test]
async fn collection_beside_clients() {
    let root = tempfile::tempdir().unwrap();
    within(TEST_LIMIT, async {
        let mut host = Registry::start(root.path(), &[DELETE, HURRY], &[]).unwrap();
        logged(&host, "ROADSTEAD_TEST_GC shortens the waits of garbage collection").await;
        for number in 0..20_u8 {
            push_blob(&host.address, "a", &Bytes::from(vec![number; 1000])).await;
            let answer = ask(&host.address, request(SLICE, "{}"), 200).await;
            let progress: Value = serde_json::from_slice(answer.body()).unwrap();
            let status = progress["status"].as_str().unwrap();
            assert!(["running", "done", "not-due"].contains(&status), "{progress}");
        }
        host.signal("TERM").unwrap();
        assert!(host.wait().unwrap().success());
        assert!(!host.log().contains("ERROR"), "{}", host.log());
    })
    .await;
}

/// Where nothing may be deleted, nothing is collected.
#[tokio::test]
async fn no_collection_without_permission() {
    let root = tempfile::tempdir().unwrap();
    let read_only = ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true");
    let off = ("REGISTRY_STORAGE_MAINTENANCE_GC_ENABLED", "false");
    within(TEST_LIMIT, async {
        drop(Registry::start(root.path(), &[], &[]).unwrap());
        for variables in [&[HURRY][..], &[HURRY, DELETE, off], &[HURRY, DELETE, read_only]] {
            let host = Registry::start(root.path(), variables, &[]).unwrap();
            ask(&host.address, request(SLICE, ""), 405).await;
            assert!(!host.log().contains("garbage collection"), "{}", host.log());
        }
    })
    .await;
}

#[tokio::test]
async fn a_directory_that_is_served_is_left_to_its_registry() {
    let root = tempfile::tempdir().unwrap();
    within(TEST_LIMIT, async {
        let host = Registry::start(root.path(), &[], &[]).unwrap();
        let said = refusal(command(["gc", text(root.path())]));
        assert_says(&said, &["another process serves", text(root.path()), "by its URL"]);
        assert_eq!(said.lines().count(), 1, "{said}");
        // A lock knows better than the operator.
        let said = refusal(command(["gc", "--alone", text(root.path())]));
        assert_says(&said, &["another process serves", text(root.path()), "by its URL"]);
        let said = refusal(command(["gc", "--alone", &format!("http://{}", host.address)]));
        assert_says(&said, &["--alone", "a registry serves this one"]);
        let said = refusal(command(["rm", "--directory", text(root.path()), "a:v1"]));
        assert_says(&said, &["another process serves", text(root.path()), "by its URL"]);
        let output = command(["rescue", text(root.path())]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert_says(&String::from_utf8(output.stderr).unwrap(), &["another process serves"]);
        // Nothing is written.
        printed(&["rescue", "--dry-run", text(root.path())]);
        drop(host);
        printed(&["gc", text(root.path())]);
        printed(&["rescue", text(root.path())]);
        let missing = command(["rm", "--directory", text(root.path()), "a:v1"]).output().unwrap();
        assert_eq!(missing.status.code(), Some(3));
    })
    .await;
}

/// With the names and flags of distribution's command, whatever the file says of
/// users and deletion.
#[test]
fn commands_over_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("data");
    let config = directory.path().join("config.yml");
    let missing = directory.path().join("missing");
    std::fs::write(
        &config,
        format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, maintenance: {{readonly: \
             {{enabled: true}}}}}}\nauth: {{htpasswd: {{realm: a, path: /nowhere}}}}\n",
            root.display()
        ),
    )
    .unwrap();
    let said = refusal(command(["garbage-collect", text(&config)]));
    assert_says(&said, &[text(&root), "is no data directory"]);
    std::fs::create_dir(&root).unwrap();
    let said = refusal(command(["gc", text(&root)]));
    assert_says(&said, &[text(&root), "is no data directory"]);
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
    std::fs::create_dir_all(root.join("docker/registry/v2")).unwrap();
    for target in [&config, &root] {
        let json: Value =
            serde_json::from_str(&printed(&["gc", "--json", "-d", text(target)])).unwrap();
        assert!(["done", "not-due"].contains(&json["status"].as_str().unwrap()), "{json}");
    }
    printed(&["garbage-collect", "--dry-run", text(&config)]);
    assert_eq!(printed(&["garbage-collect", "-d", "-q", text(&config)]), "");
    let said = printed(&["garbage-collect", "-m", text(&config)]);
    assert_says(&said, &["0 blobs marked, 0 blobs and 0 manifests eligible for deletion"]);
    let said = refusal(command(["gc", text(&missing)]));
    assert_says(&said, &[text(&missing), "neither a configuration file nor a data directory"]);
    let said = refusal(command(["gc", "--run", "7", text(&root)]));
    assert_says(&said, &["run has 32 hexadecimal digits"]);
}

#[tokio::test]
async fn space_comes_back_in_a_directory_that_is_not_served() {
    let root = tempfile::tempdir().unwrap();
    let blob = Bytes::from(vec![7; 100_000]);
    within(TEST_LIMIT, async {
        let mut host = Registry::start(root.path(), &[], &[]).unwrap();
        push_blob(&host.address, "a", &blob).await;
        host.kill().unwrap();
        let digest = digest(&blob);
        let data = Disk(root.path()).blob(&digest);
        assert!(data.is_file());
        for dry in [true, false] {
            let mut arguments = vec!["gc", "--json", text(root.path())];
            arguments.extend(dry.then_some("--dry-run"));
            let json: Value = serde_json::from_str(&printed(&arguments)).unwrap();
            let report = &json["report"];
            assert_eq!((&json["status"], &report["dry_run"]), (&"done".into(), &dry.into()));
            assert_eq!(
                (&report["removed"], &report["removed_bytes"]),
                (&1.into(), &100_000.into())
            );
            assert_eq!(data.exists(), dry);
        }
    })
    .await;
}

/// Of a storage that nobody serves, and of a registry by its URL.
#[tokio::test]
async fn questions_of_operators() {
    let root = tempfile::tempdir().unwrap();
    let blob = Bytes::from(vec![7; 2048]);
    let digest = digest(&blob);
    within(TEST_LIMIT, async {
        let mut host = Registry::start(root.path(), &[DELETE], &[]).unwrap();
        push_blob(&host.address, "a/b", &blob).await;
        let url = format!("http://{}", host.address);
        let (directory, missing) = (text(root.path()).to_owned(), digest.replace(':', ":0"));
        for target in [&url, &directory] {
            if target == &directory {
                host.kill().unwrap();
            }
            let why = printed(&["gc", target, "--why", &digest]);
            assert_says(&why, &["2.0 KiB", "nothing refers to it", "a/b: has a link to it"]);
            assert_says(&printed(&["gc", target, "--usage"]), &["repository", "a/b", "0 bytes"]);
            assert_eq!(printed(&["gc", target, "--reports"]), "no run has ended yet\n");
        }
        printed(&["gc", &directory]);
        let reports: Value =
            serde_json::from_str(&printed(&["gc", &directory, "--reports", "--json"])).unwrap();
        let report = &reports["reports"][0];
        assert_eq!(report["removed"], 1);
        let run = report["run"].as_str().unwrap();
        assert_says(&printed(&["gc", &directory, "--undo", run]), &["nothing to do"]);
        assert_says(&printed(&["gc", &directory, "--reports"]), &["removed 1 (2.0 KiB)", "undid"]);
        let why = printed(&["gc", &directory, "--why", &digest]);
        assert_says(&why, &["the storage does not have it"]);
        let said = refusal(command(["gc", &directory, "--undo", "7"]));
        assert_says(&said, &["a run has 32 hexadecimal digits"]);
        let output = command(["gc", &directory, "--why", &missing]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let output = command(["gc", &directory, "--usage", "--reports"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    })
    .await;
}

/// What a tag led to before, with the flags of both commands: of a registry that runs and
/// keeps it for some days, and of its directory.
#[tokio::test]
async fn untagged_manifests_go_on_request() {
    let root = tempfile::tempdir().unwrap();
    let config = root.path().join("config.yml");
    let rooted = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n",
        root.path().display()
    );
    std::fs::write(&config, rooted).unwrap();
    let blob = Bytes::from_static(b"{}");
    let image = |number: u32| {
        let descriptor = serde_json::json!({
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest(&blob),
            "size": blob.len(),
        });
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor,
            "layers": [],
            "annotations": { "number": number.to_string() },
        });
        Bytes::from(manifest.to_string())
    };
    within(TEST_LIMIT, async {
        let mut host = Registry::start(root.path(), &[DELETE], &[]).unwrap();
        push_blob(&host.address, "a", &blob).await;
        for number in [1, 2] {
            let request = build("PUT /v2/a/manifests/nightly")
                .header("content-type", "application/vnd.oci.image.manifest.v1+json");
            ask(&host.address, request.body(image(number)).unwrap(), 201).await;
        }
        let (former, current) = (digest(&image(1)), digest(&image(2)));
        let pull = |digest: &str| request(&format!("GET /v2/a/manifests/{digest}"), "");
        // They are young, and the settings' grace time counts.
        let url = format!("http://{}", host.address);
        printed(&["gc", &url, "--delete-untagged", "--untagged-age", "0m"]);
        ask(&host.address, pull(&former), 200).await;
        host.kill().unwrap();
        let dry = printed(&["garbage-collect", "-d", "-m", text(&config)]);
        let eligible = format!("manifest eligible for deletion: {former}");
        assert_says(&dry, &["2 blobs marked, 1 blobs and 1 manifests eligible", &eligible]);
        let said = printed(&["garbage-collect", "-m", text(&config)]);
        assert_says(&said, &["2 blobs marked, 1 blobs and 1 manifests eligible"]);
        let host = Registry::start(root.path(), &[], &[]).unwrap();
        ask(&host.address, pull(&former), 404).await;
        ask(&host.address, pull(&current), 200).await;
    })
    .await;
}

/// Nobody else drives it: `serve` begins a run of its own only after some minutes.
#[tokio::test]
async fn runs_are_driven_by_requests() {
    let root = tempfile::tempdir().unwrap();
    within(TEST_LIMIT, async {
        let host = Registry::start(root.path(), &BY_SLICES, &[]).unwrap();
        Box::pin(runs_by_slices(&host.address, root.path())).await;
    })
    .await;
}

#[tokio::test]
async fn garbage_that_is_kept_goes_after_the_waits_of_the_settings() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("data");
    let (garbage, live) = (Bytes::from(vec![7; 100_000]), image(1, 50_000));
    // The removal takes a minute, for which the tombstone outlives the data.
    within(2 * TEST_LIMIT, async {
        let mut host = Registry::start(&root, &[], &[]).unwrap();
        let garbage = push_blob(&host.address, "a", &garbage).await;
        push(&host.address, "a", live).await;
        host.kill().unwrap();
        // Without the flag there are no waits, whatever earlier runs have done.
        let comes_back_at_once = |stage: &str| {
            let copy = parent.path().join(stage);
            let copied = Command::new("cp").arg("-a").args([&root, &copy]).status();
            assert!(copied.unwrap().success());
            let report = report(&[], &copy);
            assert_eq!(
                (&report["removed"], &report["removed_bytes"]),
                (&1.into(), &100_000.into())
            );
            assert!(!Disk(&copy).blob(&garbage).exists(), "{stage}");
            copy
        };
        let waits = |passed: Duration, figure: &str| {
            make_older(&root, passed);
            let report = report(&["--keep"], &root);
            for name in ["sighted", "condemned", "kept", "removed"] {
                let expected = u32::from(name == figure);
                assert_eq!(report[name], expected, "{name}, not {figure}: {report}");
            }
            assert_eq!(report[format!("{figure}_bytes")], 100_000, "{report}");
            assert_eq!(Disk(&root).blob(&garbage).exists(), figure != "removed", "{figure}");
        };
        let untouched = comes_back_at_once("untouched");
        waits(2 * HOUR, "sighted");
        waits(HOUR / 2, "sighted");
        waits(HOUR, "condemned");
        assert!(!Disk(&root).layer_link("a", &garbage).exists());
        let condemned = comes_back_at_once("condemned");
        waits(HOUR, "kept");
        waits(2 * HOUR, "removed");
        for root in [&untouched, &condemned, &root] {
            let host = Registry::start(root, &[], &[]).unwrap();
            assert_eq!(pull(&host.address, "a", "latest").await, digest(&live.manifest()));
        }
    })
    .await;
}

/// A push, a deletion by digest, a stop, and the command: what the disk has then.
#[tokio::test]
async fn what_is_left_on_the_disk_is_what_is_left_in_the_registry() {
    let root = tempfile::tempdir().unwrap();
    let (deleted, left) = (image(1, 6_000_000), image(2, 4_000_000));
    let bytes = |image: Image| {
        image.config.size + image.layer.size + u64::try_from(image.manifest().len()).unwrap()
    };
    let on_disk =
        || -> u64 { files(root.path()).iter().map(|file| fs::metadata(file).unwrap().len()).sum() };
    within(TEST_LIMIT, async {
        let mut host = Registry::start(root.path(), &[DELETE], &[]).unwrap();
        push(&host.address, "team/deleted", deleted).await;
        push(&host.address, "team/left", left).await;
        let line = format!("DELETE /v2/team/deleted/manifests/{}", digest(&deleted.manifest()));
        ask(&host.address, request(&line, ""), 202).await;
        host.signal("TERM").unwrap();
        assert!(host.wait().unwrap().success());
        let before = on_disk();
        let used = disk_usage(root.path());
        let report = report(&[], root.path());
        let after = on_disk();
        let left_used = disk_usage(root.path());
        println!("{before} bytes in files before, {after} after; the image has {}", bytes(left));
        println!("du -sk before: {used}, after: {left_used}");
        assert!(used.saturating_sub(left_used) >= bytes(deleted) / 1024, "{used} {left_used}");
        assert!(before >= bytes(deleted) + bytes(left), "{before}");
        assert!((bytes(left)..bytes(left) + BESIDES).contains(&after), "{after}");
        assert_eq!(
            (&report["removed"], &report["removed_bytes"]),
            (&3.into(), &bytes(deleted).into())
        );
        let host = Registry::start(root.path(), &[], &[]).unwrap();
        assert_eq!(pull(&host.address, "team/left", "latest").await, digest(&left.manifest()));
    })
    .await;
}
