use crate::program::tests::elf;
use crate::{Description, Layout, Platform, Program, build};
use flate2::read::GzDecoder;
use roadstead_oci::{Algorithm, Digest};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::Read as _;

const AMD64: u16 = 62;
const ARM64: u16 = 183;

fn description() -> Description {
    Description {
        name: "roadstead:1.2.3".to_owned(),
        version: "1.2.3".to_owned(),
        revision: Some("0123abc".to_owned()),
        created: 1_700_000_000,
    }
}

fn layout(machines: &[u16]) -> Layout {
    let programs: Vec<_> =
        machines.iter().map(|machine| Program::new(elf(*machine, 1)).unwrap()).collect();
    build(&programs, &description()).unwrap()
}

fn json(layout: &Layout, path: &str) -> Value {
    serde_json::from_slice(layout.file(path).unwrap()).unwrap()
}

/// The bytes of a descriptor, which fit its digest and its size.
fn blob<'a>(layout: &'a Layout, descriptor: &Value) -> &'a [u8] {
    let digest = descriptor["digest"].as_str().unwrap();
    let bytes = layout.file(&format!("blobs/{}", digest.replace(':', "/"))).unwrap();
    assert_eq!(descriptor["size"], bytes.len());
    let actual = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap();
    assert_eq!(actual.as_str(), digest);
    bytes
}

fn parsed(layout: &Layout, descriptor: &Value) -> Value {
    serde_json::from_slice(blob(layout, descriptor)).unwrap()
}

#[test]
fn an_image_of_one_platform() {
    let layout = layout(&[AMD64]);
    let root = json(&layout, "index.json")["manifests"][0].clone();
    assert_eq!(root["annotations"]["org.opencontainers.image.ref.name"], "1.2.3");
    let manifest = parsed(&layout, &root);
    let configuration = parsed(&layout, &manifest["config"]);
    assert_eq!(configuration["architecture"], "amd64");
    assert_eq!(configuration["created"], "2023-11-14T22:13:20Z");
    let labels = &configuration["config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.revision"], "0123abc");
    assert_eq!(manifest["annotations"], *labels);
    // The layer is what the configuration says that it is.
    let mut archive = Vec::new();
    GzDecoder::new(blob(&layout, &manifest["layers"][0])).read_to_end(&mut archive).unwrap();
    let digest = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(&archive)).unwrap();
    assert_eq!(configuration["rootfs"]["diff_ids"][0], digest.as_str());
    // What `docker load` reads.
    let docker = &json(&layout, "manifest.json")[0];
    assert_eq!(docker["RepoTags"][0], "roadstead:1.2.3");
    for (path, descriptor) in
        [(&docker["Config"], &manifest["config"]), (&docker["Layers"][0], &manifest["layers"][0])]
    {
        assert_eq!(layout.file(path.as_str().unwrap()).unwrap(), blob(&layout, descriptor));
    }
}

#[test]
fn files_of_the_layer() {
    let layout = layout(&[AMD64]);
    let manifest = parsed(&layout, &json(&layout, "index.json")["manifests"][0]);
    let layer = GzDecoder::new(blob(&layout, &manifest["layers"][0]));
    let mut archive = tar::Archive::new(layer);
    let files: BTreeMap<_, _> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            assert_eq!(header.mtime().unwrap(), description().created);
            let target = entry.link_name().unwrap().map(|it| it.display().to_string());
            let path = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (path, (header.mode().unwrap(), header.uid().unwrap(), target, bytes))
        })
        .collect();
    let (mode, user, _, bytes) = &files["bin/roadstead"];
    assert_eq!((*mode, *user, bytes), (0o755, 0, &elf(AMD64, 1)));
    for (link, target) in [
        ("bin/registry", "roadstead"),
        ("bin/htpasswd", "roadstead"),
        ("etc/docker/registry/config.yml", "../../distribution/config.yml"),
    ] {
        assert_eq!(files[link].2.as_deref(), Some(target), "{link}");
    }
    // The user can write its data, and nothing else.
    let owned: Vec<_> =
        files.iter().filter(|(_, file)| file.1 != 0).map(|(path, _)| path).collect();
    assert_eq!(owned, ["var/lib/registry/"]);
    assert_eq!(files["var/lib/registry/"].1, u64::from(crate::USER));
    let users = String::from_utf8(files["etc/passwd"].3.clone()).unwrap();
    assert!(users.contains(&format!(":{0}:{0}:", crate::USER)), "{users}");
}

#[test]
fn an_index_of_several_platforms() {
    let layout = layout(&[AMD64, ARM64]);
    let index = parsed(&layout, &json(&layout, "index.json")["manifests"][0]);
    let platforms: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|manifest| {
            let configuration = parsed(&layout, &parsed(&layout, manifest)["config"]);
            assert_eq!(manifest["platform"]["architecture"], configuration["architecture"]);
            manifest["platform"]["architecture"].clone()
        })
        .collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
    // An engine that reads this file would take one of them, on any machine.
    assert!(layout.file("manifest.json").is_none());
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let archive = || {
        let mut bytes = Vec::new();
        layout(&[AMD64, ARM64]).write_archive(&mut bytes, 1).unwrap();
        bytes
    };
    assert_eq!(archive(), archive());
}

#[test]
fn an_archive_and_a_directory_have_the_same_files() {
    let layout = layout(&[AMD64]);
    let directory = tempfile::tempdir().unwrap();
    layout.write_directory(directory.path()).unwrap();
    let mut bytes = Vec::new();
    layout.write_archive(&mut bytes, 1).unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut files = 0;
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents).unwrap();
            let file = directory.path().join(entry.path().unwrap());
            assert_eq!(std::fs::read(&file).unwrap(), contents, "{}", file.display());
            files += 1;
        }
    }
    // The manifest, the configuration, the layer; and the three at the top.
    assert_eq!(files, 6);
}

#[test]
fn programs_of_the_same_platform() {
    let program = Program::new(elf(ARM64, 1)).unwrap();
    assert_eq!(program.platform(), Platform::Arm64);
    let error = build(&[program.clone(), program], &description()).unwrap_err().to_string();
    assert_eq!(error, "there are two programs for arm64");
    assert!(build(&[], &description()).is_err());
}

#[test]
fn names_of_images() {
    for (name, full, tag) in [
        ("roadstead:1", "docker.io/library/roadstead:1", "1"),
        ("acme/roadstead:1", "docker.io/acme/roadstead:1", "1"),
        ("ghcr.io/acme/roadstead:1", "ghcr.io/acme/roadstead:1", "1"),
        ("localhost:5000/roadstead", "localhost:5000/roadstead", "latest"),
    ] {
        let description = Description { name: name.to_owned(), ..description() };
        let layout = build(&[Program::new(elf(AMD64, 1)).unwrap()], &description).unwrap();
        let annotations = &json(&layout, "index.json")["manifests"][0]["annotations"];
        assert_eq!(annotations["io.containerd.image.name"], full);
        assert_eq!(annotations["org.opencontainers.image.ref.name"], tag);
    }
}
