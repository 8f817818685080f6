//! What distribution's collector does to a directory of this registry, and how that is repaired.

use super::{DELETES, Image, OCI_INDEX, OCI_MANIFEST, all, collect, programs};
use roadstead_tests::{Registry, Step, binary_named, command, delete, digest, get, put, skip};
use std::path::Path;
use std::process::Command;

/// A manifest of this type, by its digest.
fn put_manifest(name: &str, media_type: &str, manifest: &str) -> Step {
    put(format!("/v2/{name}/manifests/{}", digest(manifest.as_bytes())))
        .header("content-type", media_type)
        .body(manifest.to_owned())
        .status(201)
}

/// Without the directories of tags and blobs, the collector ends with an error, or deletes
/// manifests that are held.
#[tokio::test]
async fn distribution_collects_where_the_last_tag_was_deleted() {
    for program in programs("distribution_collects_where_the_last_tag_was_deleted") {
        last_tag_was_deleted(&program).await;
    }
}

async fn last_tag_was_deleted(program: &Path) {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let (untagged, tagged) = (Image::new("untagged", None), Image::new("tagged", None));
    // A manifest without a blob, and without a tag.
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#);
    let at = format!("/v2/index/manifests/{}", digest(index.as_bytes()));
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, untagged.push()).await;
    all(&registry.address, tagged.push()).await;
    all(&registry.address, vec![put_manifest("index", OCI_INDEX, &index)]).await;
    all(&registry.address, vec![delete("/v2/untagged/manifests/v1").status(202)]).await;
    drop(registry);

    let (collected, said) = collect(program, root.path(), &[]);
    assert!(collected, "{said}");
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, tagged.pull()).await;
    all(&registry.address, vec![get(&at).content(index.clone())]).await;
    let untagged_at = format!("/v2/untagged/manifests/{}", untagged.digest());
    all(&registry.address, vec![get(&untagged_at).content(untagged.manifest.clone())]).await;
    drop(registry);

    let (collected, said) = collect(program, root.path(), &["-m"]);
    assert!(collected, "{said}");
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, tagged.pull()).await;
    let gone = |path: &str| get(path).error(404, "MANIFEST_UNKNOWN");
    all(&registry.address, vec![gone(&untagged_at), gone(&at)]).await;
}

/// The warnings of `docs/storage.md`.
#[tokio::test]
async fn distribution_collects_referrers_and_stops_at_unknown_manifests() {
    for program in programs("distribution_collects_referrers_and_stops_at_unknown_manifests") {
        referrers_and_unknown_manifests(&program).await;
    }
}

async fn referrers_and_unknown_manifests(program: &Path) {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let image = Image::new("signed", None);
    let signature = Image::new("signed", Some(&image.digest()));
    let unknown_type = "application/vnd.example.unknown+json";
    let unknown = format!(r#"{{"schemaVersion":2,"mediaType":"{unknown_type}"}}"#);
    let referrers = get(format!("/v2/signed/referrers/{}", image.digest()));
    let none = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#);
    let by_digest = format!("/v2/signed/manifests/{}", signature.digest());
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, image.push()).await;
    all(&registry.address, signature.push_as(&signature.digest())).await;
    all(&registry.address, vec![put_manifest("signed", unknown_type, &unknown)]).await;
    drop(registry);

    // One manifest that it does not know, and nothing is collected.
    let (collected, said) = collect(program, root.path(), &[]);
    assert!(!collected && said.contains("unrecognized manifest"), "{said}");
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, image.pull()).await;
    let unknown = format!("/v2/signed/manifests/{}", digest(unknown.as_bytes()));
    all(&registry.address, vec![delete(unknown).status(202)]).await;
    drop(registry);

    // What has no tag is kept.
    let (collected, said) = collect(program, root.path(), &[]);
    assert!(collected, "{said}");
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, vec![get(&by_digest).content(signature.manifest.clone())]).await;
    drop(registry);

    // Or deleted, as signatures are.
    let (collected, said) = collect(program, root.path(), &["-m"]);
    assert!(collected, "{said}");
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, image.pull()).await;
    all(&registry.address, vec![get(&by_digest).status(404), referrers.content(none)]).await;
}

/// The images of an index that has a tag, and have none themselves.
#[tokio::test]
async fn distribution_collects_the_images_of_an_index() {
    for program in programs("distribution_collects_the_images_of_an_index") {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        let platform = Image::new("index", None);
        let index = index_of(&platform);
        let at = |reference: &str| format!("/v2/index/manifests/{reference}");
        let registry = Registry::start(&data, &DELETES, &[]).unwrap();
        all(&registry.address, platform.push_as(&platform.digest())).await;
        let tagged = put(at("v1")).header("content-type", OCI_INDEX).body(index.clone());
        all(&registry.address, vec![tagged.status(201)]).await;
        drop(registry);
        for (flags, version_2) in [(&[][..], 200), (&["-m"], 404)] {
            let (collected, said) = collect(&program, root.path(), flags);
            assert!(collected, "{said}");
            let registry = Registry::start(&data, &DELETES, &[]).unwrap();
            let status = if program.ends_with("docker-registry") { version_2 } else { 200 };
            let image = get(at(&platform.digest())).status(status);
            all(&registry.address, vec![get(at("v1")).content(index.clone()), image]).await;
        }
    }
}

/// An index of one image.
pub fn index_of(image: &Image) -> String {
    let descriptor = serde_json::json!({ "mediaType": OCI_MANIFEST, "digest": image.digest(), "size": image.manifest.len() });
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor],
    });
    index.to_string()
}

/// Runs `roadstead rescue`: its exit status, and what it prints.
pub fn rescue(arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(["rescue"].iter().chain(arguments)).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// The images of an index and its signature, with `-m`; and a backup of before.
#[tokio::test]
async fn what_distribution_collected_is_rescued() {
    // Version 3 keeps the images of a tagged index.
    let Some(program) = binary_named(&["docker-registry"]) else {
        skip("what_distribution_collected_is_rescued", "docker-registry is not installed");
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let (data, backup) = (root.path().join("data"), root.path().join("backup"));
    let kept = Image::new("kept", None);
    let platform = Image::new("rescued", None);
    let index = index_of(&platform);
    let mut signature = Image::new("rescued", Some(&digest(index.as_bytes())));
    signature.blobs[1] = b"a signature".to_vec();
    signature.manifest =
        signature.manifest.replace(&digest(&platform.blobs[1]), &digest(&signature.blobs[1]));
    let at = |image: &Image| format!("/v2/rescued/manifests/{}", image.digest());
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, kept.push()).await;
    all(&registry.address, platform.push_as(&platform.digest())).await;
    let tagged =
        put("/v2/rescued/manifests/v1").header("content-type", OCI_INDEX).body(index.clone());
    all(&registry.address, vec![tagged.status(201)]).await;
    all(&registry.address, signature.push_as(&signature.digest())).await;
    drop(registry);
    let copied = Command::new("cp").arg("-a").arg(&data).arg(&backup).status().unwrap();
    assert!(copied.success());
    let [target, from] = [&data, &backup].map(|path| path.to_str().unwrap());
    let (status, said) = rescue(&[target]);
    assert_eq!(status, Some(0), "{said}");

    let (collected, said) = collect(&program, root.path(), &["-m"]);
    assert!(collected, "{said}");
    let (status, said) = rescue(&[target]);
    assert_eq!(status, Some(1), "{said}");
    for line in [
        format!("rescued: manifest {} (a platform of", platform.digest()),
        format!("rescued: manifest {} (a signature, SBOM or other referrer)", signature.digest()),
        "--from".to_owned(),
    ] {
        assert!(said.contains(&line), "{line}: {said}");
    }
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, kept.pull()).await;
    let gone = [&platform, &signature].map(|image| get(at(image)).status(404));
    all(&registry.address, gone.into()).await;
    // Meanwhile it is served.
    let (status, said) = rescue(&[target, "--from", from]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("another process serves"), "{said}");
    drop(registry);

    let (status, said) = rescue(&[target, "--from", from]);
    assert_eq!(status, Some(0), "{said}");
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, kept.pull()).await;
    all(&registry.address, vec![get("/v2/rescued/manifests/v1").content(index.clone())]).await;
    for image in [&platform, &signature] {
        all(&registry.address, vec![get(at(image)).content(image.manifest.clone())]).await;
        for blob in &image.blobs {
            let path = format!("/v2/rescued/blobs/{}", digest(blob));
            all(&registry.address, vec![get(path).content(blob.clone())]).await;
        }
    }
    // By its URL, of a registry that serves.
    let (status, said) = rescue(&[&format!("http://{}", registry.address)]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("nothing is lost"), "{said}");
}
