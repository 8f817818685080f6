//! What distribution's collector does to a directory of this registry, and how that is repaired.

use super::rescue::rescue;
use super::{
    DELETES, Image, OCI_INDEX, all, collect, copied, index_of, is_version_2, programs, push_index,
};
use roadstead_tests::program::run;
use roadstead_tests::{Registry, Step, binary_named, delete, digest, get, put, skip};
use std::path::Path;
use tokio::process::Command;

/// A manifest of this type, by its digest.
fn put_manifest(name: &str, media_type: &str, manifest: &str) -> Step {
    put(format!("/v2/{name}/manifests/{}", digest(manifest.as_bytes())))
        .header("content-type", media_type)
        .body(manifest.to_owned())
        .status(201)
}

/// Without the directories of tags and blobs, which this registry keeps, the collector ends with
/// an error, or deletes manifests that are held.
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
    for name in ["untagged", "index"] {
        without_the_directory_of_tags(program, &data, name);
    }

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

/// The same in a copy in which a repository lacks the empty directory.
fn without_the_directory_of_tags(program: &Path, data: &Path, name: &str) {
    let root = tempfile::tempdir().unwrap();
    let copy = root.path().join("data");
    copied(data, &copy);
    let tags = format!("docker/registry/v2/repositories/{name}/_manifests/tags");
    std::fs::remove_dir(copy.join(tags)).unwrap();
    let (succeeded, said) = collect(program, root.path(), &["-m"]);
    assert_eq!(succeeded, !is_version_2(program), "{said}");
    assert_eq!(said.contains("failed to retrieve tags"), is_version_2(program), "{said}");
    // Version 3 has deleted the manifest's bytes, and not its link.
    let (_, said) = rescue(&[copy.to_str().unwrap()]);
    let lost = said.contains(&format!("{name}: manifest ")) && said.contains("(pushed by digest)");
    assert_eq!(lost, !is_version_2(program), "{said}");
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

/// `oras cp --recursive` asks for the list of referrers, and fails if one of them is gone.
#[tokio::test]
async fn oras_copies_an_image_whose_signature_was_collected() {
    let test = "oras_copies_an_image_whose_signature_was_collected";
    let Some(oras) = binary_named(&["oras"]) else {
        skip(test, "oras is not installed");
        return;
    };
    for program in programs(test) {
        copied_by_oras(&oras, &program).await;
    }
}

async fn copied_by_oras(oras: &Path, program: &Path) {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let image = Image::new("signed", None);
    let mut signature = Image::new("signed", Some(&image.digest()));
    let by_digest = format!("/v2/signed/manifests/{}", signature.digest());
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, image.push()).await;
    all(&registry.address, signature.push_as(&signature.digest())).await;
    drop(registry);
    let (succeeded, said) = collect(program, root.path(), &["-m"]);
    assert!(succeeded, "{said}");

    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    all(&registry.address, vec![get(by_digest).status(404)]).await;
    // Another one, with its subject's real size, which oras compares.
    let mut manifest: serde_json::Value = serde_json::from_str(&signature.manifest).unwrap();
    manifest["subject"]["size"] = image.manifest.len().into();
    signature.manifest = manifest.to_string();
    all(&registry.address, signature.push_as(&signature.digest())).await;
    let mut copy = Command::new(oras);
    copy.args(["cp", "--no-tty", "--recursive", "--from-plain-http", "--to-plain-http"]);
    copy.args(["signed:v1", "copied:v1"].map(|name| format!("{}/{name}", registry.address)));
    // Without the user's logins.
    run(copy.env("DOCKER_CONFIG", root.path())).await;
    let [image, signature] = [image, signature].map(|image| Image { name: "copied", ..image });
    all(&registry.address, [image.pull(), signature.pull_by_digest()].concat()).await;
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
        all(&registry.address, vec![push_index("index", &index)]).await;
        drop(registry);
        for (flags, version_2) in [(&[][..], 200), (&["-m"], 404)] {
            let (collected, said) = collect(&program, root.path(), flags);
            assert!(collected, "{said}");
            let registry = Registry::start(&data, &DELETES, &[]).unwrap();
            let status = if is_version_2(&program) { version_2 } else { 200 };
            let image = get(at(&platform.digest())).status(status);
            all(&registry.address, vec![get(at("v1")).content(index.clone()), image]).await;
        }
    }
}
