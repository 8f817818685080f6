//! A measurement: `roadstead gc` of a directory with many blobs, half of which are garbage.
//! `MEASURE_BLOBS` is their number; `TMPDIR` is where the directory is.

use crate::disk::{Disk, disk_usage};
use roadstead_tests::{command, digest};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Blobs, unless `MEASURE_BLOBS` says another number.
const BLOBS: usize = 2000;

/// Blobs of an image, of which one is its config.
const OF_IMAGE: usize = 20;

const REPOSITORIES: usize = 100;

/// How often to read how much memory the command has had.
const POLL_PAUSE: Duration = Duration::from_millis(5);

/// What a directory has, by digest.
#[derive(Default)]
struct Filled {
    live: BTreeSet<String>,
    garbage: BTreeSet<String>,
    garbage_bytes: usize,
    manifests: usize,
}

#[test]
fn half_of_a_directory_is_garbage() {
    let blobs = std::env::var("MEASURE_BLOBS").map_or(BLOBS, |text| text.parse().unwrap());
    let (empty, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir_all(empty.path().join("docker/registry/v2")).unwrap();
    collected("no blobs", empty.path(), &[]);
    let begun = Instant::now();
    let filled = fill(directory.path(), blobs / OF_IMAGE);
    let before = stored(directory.path());
    println!("{} blobs written in {:?}", before.len(), begun.elapsed());
    assert!(before.iter().eq(filled.live.union(&filled.garbage)));
    let dry = collected("dry run", directory.path(), &["--dry-run"]);
    assert!(stored(directory.path()) == before, "a dry run has changed something");
    let used = disk_usage(directory.path());
    let real = collected("run", directory.path(), &[]);
    println!("du -sk before: {used}, after: {}", disk_usage(directory.path()));
    for (figure, expected) in [
        ("repositories", REPOSITORIES.min(blobs / OF_IMAGE)),
        ("manifests", filled.manifests),
        ("blobs", before.len()),
        ("removed", filled.garbage.len()),
        ("removed_bytes", filled.garbage_bytes),
    ] {
        assert_eq!((&dry[figure], &real[figure]), (&expected.into(), &expected.into()), "{figure}");
    }
    assert!(stored(directory.path()) == filled.live, "it has not removed exactly the garbage");
    let again = collected("another run", directory.path(), &[]);
    assert_eq!((&again["removed"], &again["blobs"]), (&0.into(), &filled.live.len().into()));
    // It reads no manifest again.
    let [first, again] = [&dry, &again].map(|report| report["operations"].as_u64().unwrap());
    assert!(again + filled.manifests as u64 <= first, "{first} operations, and {again}");
}

/// The digests of all blobs whose data is there.
fn stored(root: &Path) -> BTreeSet<String> {
    Disk(root).blobs().into_iter().collect()
}

/// Writes images as another registry would. Every other one of a repository has a manifest.
fn fill(root: &Path, images: usize) -> Filled {
    let disk = Disk(root);
    let mut filled = Filled::default();
    for image in 0..images {
        let (repository, round) = (image % REPOSITORIES, image / REPOSITORIES);
        let name = format!("r{repository:03}");
        let mut descriptors = Vec::new();
        let mut bytes = 0;
        for blob in 0..OF_IMAGE {
            let text = format!("blob {blob} of image {image}");
            let digest = written_blob(disk, &text);
            write(&disk.layer_link(&name, &digest), &digest);
            let kind = if blob == 0 { "config.v1+json" } else { "layer.v1.tar" };
            descriptors.push(json!({
                "mediaType": format!("application/vnd.oci.image.{kind}"),
                "digest": digest,
                "size": text.len(),
            }));
            bytes += text.len();
        }
        let digests = descriptors.iter().map(|of| of["digest"].as_str().unwrap().to_owned());
        if (repository + round) % 2 == 1 {
            filled.garbage.extend(digests);
            filled.garbage_bytes += bytes;
            continue;
        }
        filled.live.extend(digests);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptors[0],
            "layers": descriptors[1..],
        });
        let digest = written_blob(disk, &manifest.to_string());
        write(&disk.revision_link(&name, &digest), &digest);
        write(&disk.tag_link(&name, &format!("t{image}")), &digest);
        filled.live.insert(digest);
        filled.manifests += 1;
    }
    filled
}

fn written_blob(disk: Disk<'_>, text: &str) -> String {
    let digest = digest(text.as_bytes());
    write(&disk.blob(&digest), text);
    digest
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// The report of `roadstead gc`, whose time and memory are printed.
fn collected(what: &str, root: &Path, flags: &[&str]) -> Value {
    let said = tempfile::tempdir().unwrap();
    let path = |name: &str| said.path().join(name);
    let mut command = command(["gc", "--json"]);
    command.args(flags).arg(root).stdin(Stdio::null());
    // Not pipes, which someone would have to read meanwhile.
    command.stdout(File::create(path("out")).unwrap());
    command.stderr(File::create(path("err")).unwrap());
    let begun = Instant::now();
    let mut process = command.spawn().unwrap();
    let mut most = 0;
    let status = loop {
        most = most.max(peak_memory(process.id()).unwrap_or_default());
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(POLL_PAUSE);
    };
    let time = begun.elapsed();
    assert!(status.success(), "{what}: {}", fs::read_to_string(path("err")).unwrap());
    let mut json: Value = serde_json::from_slice(&fs::read(path("out")).unwrap()).unwrap();
    assert_eq!(json["status"], "done", "{what}: {json}");
    let report = json["report"].take();
    println!(
        "{what}: {:.2} s, {} operations, {} of {} blobs removed, {} MiB at most",
        time.as_secs_f64(),
        report["operations"],
        report["removed"],
        report["blobs"],
        most / 1024
    );
    report
}

/// The most memory that a process has had, in KiB; `None` if it has ended.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}
