//! What archives of each format say.

use super::kit::{
    Built, Files, INDEX, MANIFEST, Tar, content, descriptor, gzip, holds, image, in_layout,
    in_registry, index, inventory, layout, named, open, print, repository, sha256, short,
};
use crate::{Content, Options, Piece, Set};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tar::EntryType;

const CONTAINERD: &str = "io.containerd.image.name";
const REFERENCE: &str = "org.opencontainers.image.ref.name";

/// What Docker wrote before version 25.
fn docker_save() -> Tar {
    let [first, second] = [image(&["base", "one"]), image(&["base", "two", "base"])];
    let config = |image: &Built| format!("{}.json", sha256(&image.blobs[0]).encoded());
    let items = json!([
        {
            "Config": config(&first),
            "RepoTags": ["alpine:3", "localhost:5000/a/b:1"],
            "Layers": ["aa/layer.tar", "bb/layer.tar"],
        },
        {
            "Config": config(&second),
            "RepoTags": null,
            "Layers": ["aa/layer.tar", "cc/layer.tar", "dd/layer.tar"],
        },
    ]);
    Tar::default()
        .link(EntryType::Directory, "aa/", "")
        .file("aa/VERSION", "1.0")
        .file("aa/layer.tar", "base")
        .file("bb/layer.tar", "one")
        .file("cc/layer.tar", "two")
        .link(EntryType::Symlink, "dd/layer.tar", "../aa/layer.tar")
        // As Skopeo writes, which has no use for it itself.
        .link(EntryType::Symlink, "ee/layer.tar", "../abc.tar")
        .file(&config(&first), &first.blobs[0])
        .file(&config(&second), &second.blobs[0])
        .file("manifest.json", items.to_string())
        .file("repositories", "{}")
}

#[test]
fn docker_save_before_25() {
    let set = open(docker_save().end()).unwrap();
    let digests: Vec<_> = set.images().iter().map(|image| image.digest.clone()).collect();
    let [first, second] = [short(&digests[0]), short(&digests[2])];
    assert_eq!(
        print(&set),
        [
            format!("- - - {second}"),
            format!("- alpine 3 {first}"),
            format!("localhost:5000 a/b 1 {first}"),
        ]
    );
    let manifest = set.manifest(&digests[2]).unwrap().unwrap();
    assert_eq!(content(&set, &digests[2]).as_deref(), Some(&*manifest));
    // The same bytes from every import.
    let expected = image(&["base", "two", "base"]);
    let config = &expected.blobs[0];
    let tar = "application/vnd.oci.image.layer.v1.tar";
    assert_eq!(
        std::str::from_utf8(&manifest).unwrap(),
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"{}","digest":"{}","size":{}}},"layers":[{}]}}"#,
            "application/vnd.oci.image.config.v1+json",
            sha256(config),
            config.len(),
            ["base", "two", "base"]
                .map(|layer| format!(
                    r#"{{"mediaType":"{tar}","digest":"{}","size":{}}}"#,
                    sha256(layer),
                    layer.len()
                ))
                .join(","),
        )
    );
    let inventory = inventory(&set).unwrap();
    let repository = &inventory.repositories[&"x".parse().unwrap()];
    let blobs = &repository.manifests[&digests[2]].blobs;
    let expected: Vec<_> = ["base", "two", "base"].iter().map(sha256).collect();
    assert_eq!((&blobs[0], &blobs[1..]), (&sha256(config), expected.as_slice()));
    assert_eq!(inventory.contents.len(), 7);
}

#[test]
fn layers_are_of_the_type_that_they_begin_with() {
    let tar = b"tar".as_slice();
    let packed = gzip(tar);
    let zstd = compress_to_vec(tar, CompressionLevel::Fastest);
    let id = sha256(tar).to_string();
    let config = json!({"rootfs": {"diff_ids": [id, id, id]}}).to_string();
    // As go-containerregistry calls them.
    let name = sha256(&config).to_string();
    let items = json!([{"Config": name, "RepoTags": [], "Layers": ["a.tar", "b.tar.gz", "c"]}]);
    let archive = Tar::default()
        .file("a.tar", tar)
        .file("b.tar.gz", &packed)
        .file("c", &zstd)
        .file(&name, &config)
        .file("manifest.json", items.to_string());
    let set = open(archive.end()).unwrap();
    let manifest = set.manifest(&set.images()[0].digest).unwrap().unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let types = manifest["layers"].as_array().unwrap().iter().map(|layer| {
        layer["mediaType"].as_str().unwrap().strip_prefix("application/vnd.oci.image.layer.v1.")
    });
    assert_eq!(types.collect::<Vec<_>>(), [Some("tar"), Some("tar+gzip"), Some("tar+zstd")]);
    assert_eq!(content(&set, &sha256(&packed)), Some(packed));
}

#[test]
fn docker_save_since_25() {
    let [first, second] = [image(&["one"]), image(&["two"])];
    let item = |image: &Built, tags: Value| {
        let layers: Vec<_> = image.blobs[1..].iter().map(|layer| in_layout(layer)).collect();
        json!({"Config": in_layout(&image.blobs[0]), "RepoTags": tags, "Layers": layers})
    };
    let entry = |image: &Built| descriptor(MANIFEST, &image.manifest);
    let contents: Vec<_> = first.contents().chain(second.contents()).map(Vec::as_slice).collect();
    let make = |listed: &[Value], items: &[Value]| {
        let archive = layout(&contents, listed).file("manifest.json", json!(items).to_string());
        let set = open(archive.end()).unwrap();
        if listed.len() == 2 {
            holds(&set, &first);
            holds(&set, &second);
        }
        inventory(&set).unwrap();
        print(&set)
    };
    let (one, two) = (first.digest(), second.digest());
    let (one, two) = (short(&one), short(&two));
    // The names of index.json are those that count.
    let named_one = named(entry(&first), CONTAINERD, "docker.io/library/one:1");
    assert_eq!(
        make(
            &[named_one.clone(), named(entry(&second), REFERENCE, "2")],
            &[item(&first, json!(["other:1"])), item(&second, json!(["two:2"]))]
        ),
        [format!("- - 2 {two}"), format!("docker.io one 1 {one}")]
    );
    // But images without names have those of manifest.json.
    assert_eq!(
        make(
            &[named_one.clone(), entry(&second)],
            &[item(&first, json!(["one:1"])), item(&second, json!(["two:2", "b/two:latest"]))]
        ),
        [
            format!("- b/two latest {two}"),
            format!("- two 2 {two}"),
            format!("docker.io one 1 {one}")
        ]
    );
    // What index.json does not have is made.
    let images = make(&[named_one], &[item(&second, json!(["two:2"]))]);
    assert_eq!(images.len(), 2, "{images:?}");
    assert!(images[0].starts_with("- two 2 "));
}

#[test]
fn a_layout_as_a_file_and_as_a_directory() {
    let (first, second, orphan) = (image(&["one"]), image(&["two"]), image(&["three"]));
    let signature = image(&["signature"]).of(&second);
    let missing = image(&["missing"]);
    let list = index(&[
        (MANIFEST, &first.manifest),
        (MANIFEST, &second.manifest),
        (MANIFEST, &missing.manifest),
    ]);
    let all = [&first, &second, &signature, &orphan];
    let mut contents: Vec<_> =
        all.iter().flat_map(|image| image.contents()).map(Vec::as_slice).collect();
    contents.push(&list);
    let listed = [
        named(descriptor(INDEX, &list), REFERENCE, "1.0"),
        descriptor(MANIFEST, &signature.manifest),
        descriptor(MANIFEST, &orphan.manifest),
    ];
    let tar = layout(&contents, &listed).end();
    let files = Files::new();
    let file = files.write("a.tar", &tar);
    tar::Archive::new(tar.as_slice()).unpack(files.directory.path().join("layout")).unwrap();
    let packed = files.write("b.tar.gz", gzip(&tar));
    let zstd = compress_to_vec(tar.as_slice(), CompressionLevel::Fastest);
    let zstd = files.write("c.tar.zst", zstd);
    for path in [file, files.directory.path().join("layout"), packed, zstd] {
        let set = files.open(&[path]).unwrap();
        for image in all {
            holds(&set, image);
        }
        let mut expected = [
            format!("- - 1.0 {}", short(&sha256(&list))),
            format!("- - - {}", short(&orphan.digest())),
        ];
        expected.sort();
        assert_eq!(print(&set), expected);
        let inventory = inventory(&set).unwrap();
        let repository = &inventory.repositories[&"x".parse().unwrap()];
        let manifests: Vec<_> = repository.manifests.keys().cloned().collect();
        let mut expected = vec![sha256(&list)];
        expected.extend(all.iter().map(|image| image.digest()));
        expected.sort();
        assert_eq!(manifests, expected);
        let manifest = &repository.manifests[&sha256(&list)];
        assert_eq!(manifest.children, [first.digest(), second.digest()]);
        assert_eq!(repository.manifests[&signature.digest()].subject, Some(second.digest()));
        let size = missing.manifest.len() as u64;
        assert_eq!(inventory.contents[&missing.digest()], Content { size, pieces: vec![] });
        let length = first.manifest.len() as u64;
        let piece = Piece { volume: 1, offset: 0, length, digest: None };
        let content = Content { size: length, pieces: vec![piece] };
        assert_eq!(inventory.contents[&first.digest()], content);
        let missing = [(missing.digest(), [].into())].into();
        assert_eq!(set.missing(&inventory), missing);
    }
}

#[test]
fn a_part_of_a_content() {
    let set = open(layout(&[b"0123456789"], &[]).end()).unwrap();
    let digest = sha256("0123456789");
    for (range, length) in [(0..10, 10), (2..5, 3), (9..100, 1), (10..11, 0), (5..5, 0)] {
        let parts = set.parts(&digest, range).unwrap();
        let lengths = parts.iter().map(|part| part.range.end - part.range.start);
        assert_eq!(lengths.sum::<u64>(), length);
    }
    assert!(set.parts(&sha256("other"), 0..1).is_none());
}

#[test]
fn registry_tars() {
    let (first, second, orphan) = (image(&["one"]), image(&["two"]), image(&["three"]));
    let signature = image(&["signature"]).of(&first);
    let all = [&first, &second, &orphan, &signature];
    let blobs = |images: &[&Built], mut tar: Tar| {
        for bytes in images.iter().flat_map(|image| image.contents()) {
            tar = tar.file(&in_registry(&sha256(bytes)), bytes);
        }
        tar
    };
    let links = |tar: Tar| {
        let images = [(&first, Some("1")), (&orphan, None), (&signature, None)];
        let tar = repository(tar, "a/b", &images);
        repository(tar, "c", &[(&second, Some("2")), (&second, Some("latest"))])
            .file("working-dir/x.yaml", "x")
    };
    let files = Files::new();
    // The links may be in another archive than the blobs.
    let one = files.write("d/mirror_000001.tar", blobs(&all[..2], Tar::default()).end());
    let two = files.write("d/mirror_000002.tar", blobs(&all[2..], links(Tar::default())).end());
    let whole = files.write("whole.tar", blobs(&all, links(Tar::default())).end());
    let expected = {
        let mut expected = [
            format!("- a/b - {}", short(&orphan.digest())),
            format!("- a/b 1 {}", short(&first.digest())),
            format!("- c 2 {}", short(&second.digest())),
            format!("- c latest {}", short(&second.digest())),
        ];
        expected.sort();
        expected
    };
    for paths in [
        vec![whole.clone()],
        vec![one.clone(), two.clone()],
        vec![two.clone(), one, whole],
        vec![files.directory.path().join("d")],
    ] {
        let set = files.open(&paths).unwrap();
        assert_eq!(print(&set), expected);
        for image in all {
            holds(&set, image);
        }
        let inventory = inventory(&set).unwrap();
        let manifests = |name: &str| {
            let repository = &inventory.repositories[&name.parse().unwrap()];
            repository.manifests.keys().cloned().collect::<Vec<_>>()
        };
        let mut expected = [first.digest(), orphan.digest(), signature.digest()];
        expected.sort();
        assert_eq!(manifests("a/b"), expected);
        assert_eq!(manifests("c"), [second.digest()]);
        assert!(set.missing(&inventory).is_empty());
    }
    // The manifests are in the other archive.
    let set = files.open(&[two]).unwrap();
    assert!(inventory(&set).unwrap_err().contains("is a manifest that is not in the archive"));
}

#[test]
fn streams_are_copied() {
    let files = Files::new();
    let options = Options { temporary: Some(files.directory.path().to_owned()) };
    let tar = docker_save().end();
    let open = |bytes: &[u8], options: &Options| {
        Set::open_with(&[PathBuf::from("-")], options, &mut &*bytes)
    };
    for bytes in [tar.clone(), gzip(&tar)] {
        assert_eq!(open(&bytes, &options).unwrap().images().len(), 3);
        let error = open(&bytes, &Options::default()).unwrap_err().to_string();
        assert!(error.starts_with("standard input: ") && error.contains("gunzip"), "{error}");
    }
    assert_eq!(std::fs::read_dir(files.directory.path()).unwrap().count(), 0);
}

#[test]
fn what_paths_may_be() {
    let files = Files::new();
    let at = |name: &str| files.directory.path().join(name);
    let tar = layout(&[], &[]).end();
    files.write("folder/b.tar", &tar);
    files.write("folder/a.tgz", gzip(&tar));
    files.write("folder/readme.txt", "x");
    files.write("registry/docker/registry/v2/x", "x");
    files.write("empty/x", "x");
    files.write("text", "x".repeat(2000));
    files.write("nothing", "");
    files.write("bz", "BZh91AY");
    files.write("xz", b"\xfd7zXZ\0\0");
    let blob = "a".repeat(64);
    for name in ["linked/blobs/sha256/x", "linked/oci-layout", "all/oci-layout"] {
        files.write(name, r#"{"imageLayoutVersion":"1.0.0"}"#);
    }
    symlink("/etc/passwd", at("linked/blobs/sha256").join(&blob)).unwrap();
    symlink("/etc", at("all/blobs")).unwrap();
    let linked = format!("linked: blobs/sha256/{blob}: is a symbolic link");
    for (path, expected) in [
        ("folder", None),
        ("registry", Some("is the data directory of a registry")),
        ("empty", Some("has no archives in it")),
        ("text", Some("text: is no tar file")),
        ("nothing", Some("nothing: is no tar file")),
        ("absent", Some("absent: No such file")),
        ("bz", Some("bz: is compressed: unpack it first with bunzip2")),
        ("xz", Some("xz: is compressed: unpack it first with unxz")),
        ("linked", Some(linked.as_str())),
        ("all", Some("all: blobs: is a symbolic link")),
    ] {
        match (files.open(&[at(path)]), expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => assert!(error.contains(expected), "{path}: {error}"),
            (found, _) => panic!("{path}: {found:?}"),
        }
    }
}

#[test]
fn archives_have_limits() {
    let files = Files::new();
    let all = usize::MAX;
    let path = files.write("a.tar", layout(&[b"1", b"2"], &[]).end());
    assert!(files.open_with(std::slice::from_ref(&path), 4, 1, all).is_ok());
    let error = files.open_with(std::slice::from_ref(&path), 3, 1, all).unwrap_err();
    assert_eq!(error, "a.tar: has more than 3 entries");
    let error = files.open_with(&[path.clone(), path], 4, 1, all).unwrap_err();
    assert_eq!(error, "there are more than 1 archives");
    for name in ["oci-layout", "index.json"] {
        files.write(&format!("l/{name}"), r#"{"imageLayoutVersion":"1.0.0","manifests":[]}"#);
    }
    for name in ["1", "2"] {
        files.write(&format!("l/blobs/sha256/{name}"), "");
    }
    let path = files.directory.path().join("l");
    assert!(files.open_with(std::slice::from_ref(&path), 2, 1, all).is_ok());
    let error = files.open_with(&[path], 1, 1, all).unwrap_err();
    assert_eq!(error, "l: has more than 1 entries");
}

#[test]
fn changed_files_of_a_layout_are_not_read() {
    let files = Files::new();
    let image = image(&["one"]);
    let contents: Vec<_> = image.contents().map(Vec::as_slice).collect();
    let tar = layout(&contents, &[descriptor(MANIFEST, &image.manifest)]).end();
    let root = files.directory.path().join("l");
    tar::Archive::new(tar.as_slice()).unpack(&root).unwrap();
    let set = files.open(std::slice::from_ref(&root)).unwrap();
    let layer: &Path = &root.join(in_layout(b"one"));
    std::fs::write(layer, "more").unwrap();
    assert!(set.parts(&sha256("one"), 0..3).is_none());
    std::fs::remove_file(layer).unwrap();
    symlink("/etc/passwd", layer).unwrap();
    assert!(set.parts(&sha256("one"), 0..3).is_none());
}
