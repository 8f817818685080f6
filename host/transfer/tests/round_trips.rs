//! What is exported and imported again is the same.

use crate::commands::{assert_whole, block_on, filled, run, succeed, text};
use crate::content::{Content, LARGE, at};
use crate::served::Served;
use roadstead_kit::contract::sha256;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn archives(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == "tar"));
    paths.sort();
    paths
}

#[test]
fn each_format_comes_back_from_a_directory_and_from_a_url() {
    let content = Content::with_layer(LARGE);
    let (root, data) = filled(&content);
    let served = Served::start(&data);
    for (number, (source, format, output)) in [
        (text(&data), "registry", "r.tar"),
        (text(&data), "oci", "o.tar"),
        (text(&data), "oci", "layout/"),
        (text(&data), "docker", "d.tar"),
        (served.url().as_str(), "registry", "u.tar"),
    ]
    .into_iter()
    .enumerate()
    {
        let archive = root.path().join(output);
        let archive = if output.ends_with('/') {
            format!("{}/", text(&archive))
        } else {
            text(&archive).to_owned()
        };
        succeed(&["export", source, "-o", &archive, "--format", format]);
        let target = root.path().join(format!("target{number}"));
        let said = succeed(&["import", text(&target), &archive, "--json"]);
        let said: Value = serde_json::from_str(&said).unwrap();
        let figures =
            ["blobs", "manifests", "blobsThere", "mounted"].map(|name| said[name].as_u64());
        assert_eq!(figures, [Some(5), Some(4), Some(0), Some(0)], "{format}: {said}");
        assert_whole(&content, &target);
        // Once more, nothing is sent.
        let said = succeed(&["import", text(&target), &archive, "--json"]);
        let said: Value = serde_json::from_str(&said).unwrap();
        let figures = ["blobs", "manifests", "bytes"].map(|name| said[name].as_u64());
        assert_eq!(figures, [Some(0); 3], "{said}");
        assert!(said["images"].as_array().unwrap().iter().all(|it| it["result"] == "unchanged"));
    }
}

#[test]
fn an_import_by_url_sends_nothing_twice() {
    let content = Content::with_layer(LARGE);
    let (root, data) = filled(&content);
    let archive = root.path().join("images.tar");
    succeed(&["export", text(&data), "-o", text(&archive)]);
    let target = root.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let served = Served::start(&target);
    succeed(&["import", &served.url(), text(&archive)]);
    assert_eq!(served.seen("PUT /v2/team/app/blobs"), 5);
    succeed(&["import", &served.url(), text(&archive)]);
    assert_eq!(served.seen("PUT /v2/team/app/blobs"), 5);
    assert_whole(&content, &target);
}

#[test]
fn a_tar_of_the_registrys_layout_is_a_data_directory() {
    let content = Content::new();
    let (root, data) = filled(&content);
    let archive = root.path().join("images.tar");
    succeed(&["export", text(&data), "-o", text(&archive)]);
    let target = root.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let unpacked =
        std::process::Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&target).status();
    assert!(unpacked.unwrap().success());
    assert_whole(&content, &target);
    // And the other way: what tar writes of a data directory is an archive.
    let archive = root.path().join("plain.tar");
    let packed = std::process::Command::new("tar")
        .arg("-cf")
        .arg(&archive)
        .arg("-C")
        .arg(&data)
        .arg("docker")
        .status();
    assert!(packed.unwrap().success());
    let target = root.path().join("again");
    succeed(&["import", text(&target), text(&archive)]);
    assert_whole(&content, &target);
}

#[test]
fn volumes_come_in_any_order() {
    let content = Content::with_layer(LARGE);
    let (root, data) = filled(&content);
    let volumes = root.path().join("volumes");
    std::fs::create_dir(&volumes).unwrap();
    let first = volumes.join("v.tar");
    succeed(&["export", text(&data), "-o", text(&first), "--volume-size", "3MB"]);
    // Beside them, others of that name would be taken for more of them.
    let (status, _, problem) =
        run(&["export", text(&data), "-o", text(&first), "--volume-size", "5MB"]);
    assert_eq!((status, problem.contains("another export")), (2, true), "{problem}");
    let mut paths = archives(&volumes);
    assert!(paths.len() > 2, "{paths:?}");
    assert!(paths.iter().all(|path| path.metadata().unwrap().len() <= 3_000_000));
    paths.reverse();
    let target = root.path().join("target");
    let given: Vec<_> = paths.iter().map(|path| text(path)).collect();
    succeed(&[&["import", text(&target)], &given[..]].concat());
    assert_whole(&content, &target);
    // As a directory, too.
    let target = root.path().join("directory");
    succeed(&["import", text(&target), text(&volumes)]);
    assert_whole(&content, &target);
    // Without one of them, it is said which.
    let target = root.path().join("lost");
    let (status, _, problems) = run(&[&["import", text(&target)], &given[1..]].concat());
    assert_eq!(status, 1);
    assert!(problems.contains(&format!("volume {}", paths.len())), "{problems}");
}

#[test]
fn volumes_come_one_after_the_other() {
    let content = Content::with_layer(LARGE);
    let (root, data) = filled(&content);
    let volumes = root.path().join("volumes");
    std::fs::create_dir(&volumes).unwrap();
    let first = volumes.join("v.tar");
    succeed(&["export", text(&data), "-o", text(&first), "--volume-size", "3MB"]);
    let mut paths = archives(&volumes);
    let mut random = fastrand::Rng::with_seed(3);
    for round in 0..4 {
        random.shuffle(&mut paths);
        let target = root.path().join(format!("target{round}"));
        for (number, path) in paths.iter().enumerate() {
            let (status, said, _) = run(&["import", text(&target), text(path)]);
            let last = number + 1 == paths.len();
            assert_eq!(status, u8::from(!last), "{paths:?}: {said}");
            // Once more, nothing is sent.
            let (status, again, _) = run(&["import", text(&target), text(path), "--json"]);
            let again: Value = serde_json::from_str(&again).unwrap();
            assert_eq!((status, &again["blobs"]), (u8::from(!last), &0.into()), "{again}");
        }
        assert_whole(&content, &target);
    }
}

#[test]
fn only_what_the_other_side_lacks_is_moved() {
    let content = Content::with_layer(LARGE);
    let (root, data) = filled(&content);
    let far = root.path().join("far");
    let archive = root.path().join("all.tar");
    succeed(&["export", text(&data), "-o", text(&archive)]);
    succeed(&["import", text(&far), text(&archive)]);
    let inventory = root.path().join("far.json");
    std::fs::write(&inventory, succeed(&["inventory", text(&far)])).unwrap();
    // Another image, with the layers of the first.
    let other = Content::with_layer(LARGE - 1);
    block_on(other.push(&data));
    let delta = root.path().join("delta.tar");
    succeed(&["export", text(&data), "-o", text(&delta), "--since", text(&inventory)]);
    let [all, part] = [&archive, &delta].map(|path| path.metadata().unwrap().len());
    assert!(part < all + 100_000, "{part}");
    let second = root.path().join("second.tar");
    std::fs::write(&inventory, succeed(&["inventory", text(&data)])).unwrap();
    succeed(&["export", text(&data), "-o", text(&second), "--since", text(&inventory)]);
    assert!(second.metadata().unwrap().len() < 100_000);
    succeed(&["import", text(&far), text(&delta)]);
    assert_whole(&other, &far);
    // A side that has not what is left out says so.
    let empty = root.path().join("empty");
    let (status, _, problems) = run(&["import", text(&empty), text(&second)]);
    assert_eq!(status, 1);
    assert!(problems.contains("in none of the archives"), "{problems}");
}

#[test]
fn signatures_are_asked_for() {
    let content = Content::new();
    let (root, data) = filled(&content);
    let [key, other] = ["courier", "other"].map(|name| root.path().join(name));
    for key in [&key, &other] {
        succeed(&["key", text(key)]);
    }
    assert_eq!(run(&["key", text(&key)]).0, 2, "keys are not overwritten");
    let file = |name: &Path, extension: &str| format!("{}.{extension}", text(name));
    let (private, public) = (file(&key, "key"), file(&key, "pub"));
    let [signed, plain] = ["signed.tar", "plain.tar"].map(|name| root.path().join(name));
    succeed(&["export", text(&data), "-o", text(&signed), "--sign", &private]);
    succeed(&["export", text(&data), "-o", text(&plain)]);
    let target = root.path().join("target");
    for (archive, key, said) in
        [(&signed, &file(&other, "pub"), "not signed with a key"), (&plain, &public, "not signed")]
    {
        let (status, _, problem) = run(&["import", text(&target), text(archive), "--verify", key]);
        assert_eq!(status, 2);
        assert!(problem.contains(said), "{problem}");
        assert!(!target.exists(), "nothing is written");
    }
    succeed(&[
        "import",
        text(&target),
        text(&signed),
        "--verify",
        &file(&other, "pub"),
        "--verify",
        &public,
    ]);
    assert_whole(&content, &target);
}

/// A manifest that refers to a signed image, from an archive that nobody signed.
#[test]
fn what_is_beside_a_signed_archive_is_not_imported() {
    let content = Content::new();
    let (root, data) = filled(&content);
    let key = root.path().join("courier");
    succeed(&["key", text(&key)]);
    let [signed, forged] = ["b.tar", "a.tar"].map(|name| root.path().join(name));
    let private = format!("{}.key", text(&key));
    let flags = ["--no-referrers", "--sign", &private];
    succeed(&[&["export", text(&data), "-o", text(&signed)], &flags[..]].concat());
    succeed(&["export", text(&data), "-o", text(&forged)]);
    let target = root.path().join("target");
    let public = format!("{}.pub", text(&key));
    for archives in [[&signed, &forged], [&forged, &signed]] {
        let archives = archives.map(|path| text(path));
        let words = [&["import", text(&target)], &archives[..], &["--verify", &public]].concat();
        let (status, _, problem) = run(&words);
        assert_eq!((status, problem.contains("signed")), (2, true), "{problem}");
        assert!(!target.exists());
    }
}

#[test]
fn names_are_changed() {
    let content = Content::new();
    let (root, data) = filled(&content);
    let archive = root.path().join("images.tar");
    succeed(&["export", text(&data), "team/*:v?", "-o", text(&archive), "--no-referrers"]);
    let target = root.path().join("target");
    for (flags, name) in [
        (&["--prefix", "m"][..], "m/team/app"),
        (&["--rename", "team=x"], "x/app"),
        (&["--tag", "y:2"], "y"),
    ] {
        let said = succeed(&[&["import", text(&target), text(&archive)], flags].concat());
        assert!(said.starts_with("1 of 1 image;"), "{said}");
        let tags =
            target.join("docker/registry/v2/repositories").join(name).join("_manifests/tags");
        assert!(tags.is_dir(), "{name}");
    }
    for (flags, said) in [
        (&["team/none"][..], "no such repository"),
        (&["--format", "oci", "--since", "x"], "--format registry"),
        (&["--prefix", "x/"], "--format oci"),
    ] {
        let words = [&["export", text(&data), "-o", text(&archive)], flags].concat();
        let (status, _, problem) = run(&words);
        assert_eq!(status, 2);
        assert!(problem.contains(said), "{problem}");
    }
    let nobody = run(&["import", "localhost:1", text(&archive)]);
    assert!((nobody.0, Path::new("localhost:1").exists()) == (2, false), "{nobody:?}");
}

/// A blob whose bytes are others fails its images, and no others.
#[test]
fn damaged_images_are_left_out() {
    let content = Content::new();
    let (root, data) = filled(&content);
    let other = Content::with_layer(LARGE);
    let elsewhere = root.path().join("other.tar");
    let second = root.path().join("second");
    std::fs::create_dir(&second).unwrap();
    block_on(other.push(&second));
    succeed(&["export", text(&second), "-o", text(&elsewhere)]);
    succeed(&["import", text(&data), text(&elsewhere), "--prefix", "whole"]);
    // The layer that only the first index's second image has.
    let layer = sha256(&content.blobs[3]);
    std::fs::write(at(&data, layer.as_str()).join("data"), vec![8; 100]).unwrap();
    for (format, output) in [("registry", "a.tar"), ("oci", "layout/")] {
        let archive = format!("{}/{output}", text(root.path()));
        let (status, said, problems) =
            run(&["export", text(&data), "-o", &archive, "--format", format]);
        assert_eq!(status, 1, "{problems}");
        assert!(
            problems.contains(layer.as_str()) && problems.contains("team/app:v1"),
            "{problems}"
        );
        assert!(said.starts_with("1 of 3 images; 5 blobs"), "{said}");
        let target = root.path().join(format!("target-{format}"));
        succeed(&["import", text(&target), &archive]);
        let tags = target.join("docker/registry/v2/repositories/whole/team/app/_manifests/tags/v1");
        assert!(tags.is_dir());
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    let content = Content::new();
    let (root, data) = filled(&content);
    let archive = root.path().join("images.tar");
    succeed(&["export", text(&data), "-o", text(&archive)]);
    let target = root.path().join("target");
    std::fs::create_dir_all(target.join("docker/registry/v2")).unwrap();
    let said = succeed(&["import", text(&target), text(&archive), "--dry-run", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["blobs"], &said["manifests"]), (&5.into(), &4.into()), "{said}");
    assert_eq!(block_on(content.missing(&target)).len(), 9);
}
