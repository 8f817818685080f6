//! One directory that two collectors have worked on: what this registry's own has condemned
//! and moved aside, what distribution's has deleted, and what `roadstead rescue` says of both.

use super::rescue::rescue;
use super::{DELETES, Image, all, collect, copied, index_of, is_version_2, programs, push_index};
use roadstead_tests::{Registry, command, data_key, delete, digest, get, make_older};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The shortest waits that the settings allow.
const WAITS: [(&str, &str); 2] = [
    ("REGISTRY_STORAGE_MAINTENANCE_GC_GRACE", "1h"),
    ("REGISTRY_STORAGE_MAINTENANCE_GC_KEEP", "2h"),
];

/// Longer than the grace time.
const LONGER: Duration = Duration::from_hours(2);

/// The report of a run of this registry's collector in the directory.
fn collected(data: &str, flags: &[&str]) -> Value {
    let mut command = command([&["gc", "--json", data], flags].concat());
    let output = command.envs(WAITS).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["status"], "done", "{said}");
    said["report"].take()
}

/// Two runs, of which the first sees garbage, and the second condemns it. Returns the
/// report of the second one.
fn condemned(data: &str, blobs: u32, flags: &[&str]) -> Value {
    let flags = [&["--keep"], flags].concat();
    make_older(Path::new(data), LONGER);
    let report = collected(data, &flags);
    assert_eq!(report["sighted"], blobs, "{report}");
    make_older(Path::new(data), LONGER);
    let report = collected(data, &flags);
    assert_eq!(report["condemned"], blobs, "{report}");
    report
}

/// The data of a blob.
fn data_of(data: &Path, digest: &str) -> PathBuf {
    data.join(data_key(digest))
}

/// The link of a blob or manifest in its repository, from this part of it.
fn link_of(data: &Path, name: &str, part: &str, digest: &str) -> PathBuf {
    let hex = digest.strip_prefix("sha256:").unwrap();
    data.join(format!("docker/registry/v2/repositories/{name}/{part}/sha256/{hex}/link"))
}

/// Distribution's collector deletes a signature; its blobs, which another image has too, are
/// condemned when that image is deleted. A source that has nothing but the manifest is
/// enough: the blobs come back from where this collector has kept them.
#[tokio::test]
async fn blobs_that_were_condemned_after_distribution_collected_are_rescued() {
    let test = "blobs_that_were_condemned_after_distribution_collected_are_rescued";
    for program in programs(test) {
        condemned_after_a_collection(&program).await;
    }
}

async fn condemned_after_a_collection(program: &Path) {
    let root = tempfile::tempdir().unwrap();
    let (data, backup) = (root.path().join("data"), root.path().join("backup"));
    let [target, from] = [&data, &backup].map(|path| path.to_str().unwrap());
    let signed = Image::new("signed", None);
    let other = Image::new("other", None);
    // It has the same blobs.
    let signature = Image { name: "signed", ..Image::new("other", Some(&signed.digest())) };
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    for steps in [signed.push(), signature.push_as(&signature.digest()), other.push()] {
        all(&registry.address, steps).await;
    }
    drop(registry);
    copied(&data, &backup);
    for blob in &signature.blobs {
        std::fs::remove_file(data_of(&backup, &digest(blob))).unwrap();
    }

    let (succeeded, said) = collect(program, root.path(), &["-m"]);
    assert!(succeeded, "{said}");
    assert!(!data_of(&data, &signature.digest()).exists());
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, other.pull_by_digest()).await;
    let deleted = delete(format!("/v2/other/manifests/{}", other.digest())).status(202);
    all(&registry.address, vec![deleted]).await;
    drop(registry);
    condemned(target, 3, &[]);
    for blob in signature.blobs.iter().map(|blob| digest(blob)) {
        let [link, moved] = ["_layers", "_condemned/layers"]
            .map(|part| link_of(&data, "signed", part, &blob).exists());
        assert_eq!((link, moved, data_of(&data, &blob).exists()), (false, true, true), "{blob}");
    }

    let lost = format!("signed: manifest {} (a signature, SBOM", signature.digest());
    let (status, said) = rescue(&[target]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(&lost) && said.contains("\n1 found nowhere"), "{said}");
    let (status, said) = rescue(&[target, "--from", from]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains(&lost) && said.contains("\n1 brought back"), "{said}");
    // None is lost: its data never was away.
    assert!(!said.contains(": blob "), "{said}");

    // They stay, and nothing else does.
    make_older(&data, LONGER / 2);
    let report = collected(target, &["--keep"]);
    assert_eq!((&report["given_back"], &report["kept"]), (&2.into(), &1.into()), "{report}");
    let report = collected(target, &[]);
    assert_eq!(report["removed"], 1, "{report}");
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, [signed.pull(), signature.pull_by_digest()].concat()).await;
    let (status, said) = rescue(&[&format!("http://{}", registry.address), "--hash"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("nothing is lost"), "{said}");
}

/// What this collector has condemned, distribution's deletes for good, since nothing refers
/// to it. It is not lost, as nothing needs it; a rescue brings back the rest, and neither
/// `--undo` nor the next runs are misled by the links that are still set aside.
#[tokio::test]
async fn distribution_deletes_what_was_condemned() {
    for program in programs("distribution_deletes_what_was_condemned") {
        collected_after_a_condemnation(&program).await;
    }
}

async fn collected_after_a_condemnation(program: &Path) {
    let root = tempfile::tempdir().unwrap();
    let (data, backup) = (root.path().join("data"), root.path().join("backup"));
    let [target, from] = [&data, &backup].map(|path| path.to_str().unwrap());
    let [kept, platform, deleted, untagged] =
        ["kept", "rescued", "deleted", "nightly"].map(|name| Image::new(name, None));
    let index = index_of(&platform);
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, [kept.push(), deleted.push(), untagged.push()].concat()).await;
    all(&registry.address, platform.push_as(&platform.digest())).await;
    all(&registry.address, vec![push_index("rescued", &index)]).await;
    let gone = [
        delete(format!("/v2/deleted/manifests/{}", deleted.digest())).status(202),
        delete("/v2/nightly/manifests/v1").status(202),
    ];
    all(&registry.address, gone.into()).await;
    drop(registry);
    copied(&data, &backup);
    let run = condemned(target, 3, &["--delete-untagged", "--untagged-age", "4h"]);
    assert_eq!(run["untagged"], 1, "{run}");
    let aside = [
        link_of(&data, "deleted", "_condemned/layers", &digest(&deleted.blobs[0])),
        link_of(&data, "nightly", "_condemned/revisions", &untagged.digest()),
    ];
    assert!(aside.iter().all(|link| link.exists()), "{aside:?}");
    // All of it is there still.
    let (status, said) = rescue(&[target]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("nothing is lost"), "{said}");

    let (succeeded, said) = collect(program, root.path(), &["-m"]);
    assert!(succeeded, "{said}");
    assert!(aside.iter().all(|link| link.exists()), "{aside:?}");
    for digest in [deleted.digest(), digest(&deleted.blobs[1]), untagged.digest()] {
        assert!(!data_of(&data, &digest).exists(), "{digest}");
    }
    let (status, said) = rescue(&[target, "--from", from]);
    assert_eq!(status, Some(0), "{said}");
    let rescued = format!("rescued: manifest {} (", platform.digest());
    assert_eq!(said.contains(&rescued), is_version_2(program), "{said}");
    for image in [&deleted, &untagged] {
        assert!(!said.contains(&image.digest()), "{said}");
        assert!(!said.contains(&digest(&image.blobs[1])), "{said}");
    }
    let undone = collected(target, &["--undo", run["run"].as_str().unwrap()]);
    assert_eq!((&undone["given_back"], &undone["restored"]), (&0.into(), &0.into()), "{undone}");
    make_older(&data, LONGER);
    collected(target, &["--keep"]);
    let report = collected(target, &[]);
    assert_eq!((&report["removed"], &report["manifests"]), (&0.into(), &3.into()), "{report}");
    assert!(!aside.iter().any(|link| link.exists()), "{aside:?}");

    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, vec![get("/v2/rescued/manifests/v1").content(index)]).await;
    all(&registry.address, [platform.pull_by_digest(), kept.pull_by_digest()].concat()).await;
    for image in [&deleted, &untagged] {
        let at = format!("/v2/{}/manifests/{}", image.name, image.digest());
        all(&registry.address, vec![get(at).status(404)]).await;
        // It is pushed as if it had never been there.
        all(&registry.address, image.push()).await;
        all(&registry.address, image.pull_by_digest()).await;
    }
    drop(registry);
    let output = command(["scrub", target]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
