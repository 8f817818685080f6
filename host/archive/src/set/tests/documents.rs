//! Manifests, links and JSON in archives that are refused, and by which words.

use super::kit::{
    Files, INDEX, MANIFEST, Tar, descriptor, image, in_registry, index, inventory, layout, named,
    open, print, repository, sha256,
};
use crate::Error;
use roadstead_oci::Manifest;
use serde_json::json;
use tar::EntryType;

#[test]
fn hostile_documents_are_refused() {
    let image = image(&["one"]);
    let contents: Vec<_> = image.contents().map(Vec::as_slice).collect();
    let entry = || descriptor(MANIFEST, &image.manifest);
    let reference = "org.opencontainers.image.ref.name";
    let mut larger = entry();
    larger["size"] = json!(image.manifest.len() + 1);
    let absent = descriptor(MANIFEST, "absent");
    let document = |name: &str, text: &str| {
        let other = if name == "oci-layout" { "index.json" } else { "oci-layout" };
        let tar = Tar::default().file(name, text);
        tar.file(other, r#"{"imageLayoutVersion":"1.0.0"}"#).end()
    };
    let huge = format!("[{}]", " ".repeat(16 * 1024 * 1024));
    let deep = "[".repeat(100_000);
    let docker = |name: &str, text: &str| Tar::default().file(name, text).end();
    for (bytes, expected) in [
        (layout(&contents, &[larger]).end(), "bytes here, but"),
        (layout(&contents, &[absent]).end(), "index.json: lists sha256:"),
        (layout(&contents, &[named(entry(), reference, "a b")]).end(), "index.json: the name a b"),
        (document("index.json", "[1]"), "index.json: "),
        (document("index.json", r#"{"manifests":[{}]}"#), "index.json: missing field"),
        (document("index.json", &deep), "index.json: "),
        (document("index.json", &huge), "index.json: is too large"),
        (document("oci-layout", "{}"), "oci-layout: missing field"),
        (document("oci-layout", r#"{"imageLayoutVersion":"2.0"}"#), "oci-layout: is of another"),
        (docker("index.json", "{}"), "has no images in it"),
        (docker("manifest.json", "{}"), "manifest.json: "),
        (docker("manifest.json", &deep), "manifest.json: "),
        (docker("manifest.json", &huge), "manifest.json: is too large"),
        (
            docker("manifest.json", r#"[{"Config":"../../etc/passwd"}]"#),
            "../../etc/passwd: is in manifest.json, but not in the archive",
        ),
        (docker("x", ""), "has no images in it"),
    ] {
        let error = open(bytes).map(|_| ()).expect_err(expected);
        assert!(error.starts_with("a.tar: ") && error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn contents_with_other_digests_are_refused() {
    let image = image(&["one"]);
    let mut contents: Vec<_> =
        image.contents().map(|bytes| (sha256(bytes), bytes.clone())).collect();
    let listed = [descriptor(MANIFEST, &image.manifest)];
    let last = contents.len() - 1;
    contents[last].1[0] = b' ';
    let mut tar = layout(&[], &listed);
    for (digest, bytes) in &contents {
        tar = tar.file(&format!("blobs/sha256/{}", digest.encoded()), bytes);
    }
    let error = open(tar.end()).unwrap_err();
    let digest = image.digest();
    assert_eq!(error, format!("a.tar: {digest}: does not have its digest: the archive is damaged"));
}

#[test]
fn hostile_manifests_are_refused() {
    let image = image(&["one"]);
    let longer = String::from_utf8(image.manifest.clone()).unwrap();
    let longer = longer.replace("\"size\":3", "\"size\":4").into_bytes();
    let large = vec![b' '; Manifest::MAX_SIZE + 1];
    let missing = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("a/b", "one"),
        "layers": [descriptor("a/b", "two"), {"mediaType": "a/b", "digest": sha256("two").as_str(), "size": 9}],
    })
    .to_string()
    .into_bytes();
    for (manifest, expected) in [
        (b"no manifest".to_vec(), "manifest cannot be read"),
        (index(&[]), "is listed as application/vnd.oci.image.manifest.v1+json, but it is"),
        (b"{\"schemaVersion\":1}".to_vec(), "schema 1"),
        (longer, "bytes here, but 3 in "),
        (missing, "has 9 bytes, but another says 3"),
        (large, "is too large for a manifest"),
    ] {
        let listed = [descriptor(MANIFEST, &manifest)];
        let mut contents: Vec<_> = image.blobs.iter().map(Vec::as_slice).collect();
        contents.push(&manifest);
        let set = open(layout(&contents, &listed).end()).unwrap();
        let error = inventory(&set).unwrap_err();
        let digest = sha256(&manifest);
        assert!(error.contains(expected) && error.contains(digest.as_str()), "{expected}: {error}");
    }
}

#[test]
fn deep_indexes_are_refused() {
    for (depth, fits) in [(8, true), (9, false), (40, false)] {
        let image = image(&["one"]);
        let mut contents: Vec<_> = image.contents().cloned().collect();
        let mut kind = MANIFEST;
        for _ in 0..depth {
            let list = index(&[(kind, contents.last().unwrap())]);
            contents.push(list);
            kind = INDEX;
        }
        let listed = [descriptor(INDEX, contents.last().unwrap())];
        let contents: Vec<_> = contents.iter().map(Vec::as_slice).collect();
        let set = open(layout(&contents, &listed).end()).unwrap();
        match inventory(&set) {
            Ok(found) => assert!(fits && set.missing(&found).is_empty()),
            Err(error) => {
                assert!(
                    !fits && error.contains("is an index within more than 8 others"),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn references_are_limited() {
    let image = image(&["one"]);
    let list = index(&[(MANIFEST, &image.manifest), (MANIFEST, &image.manifest)]);
    let mut contents: Vec<_> = image.contents().map(Vec::as_slice).collect();
    contents.push(&list);
    let files = Files::new();
    let path = files.write("a.tar", layout(&contents, &[descriptor(INDEX, &list)]).end());
    assert!(files.open_with(std::slice::from_ref(&path), 100, 1, 5).is_ok());
    let error = files.open_with(&[path], 100, 1, 4).unwrap_err();
    assert_eq!(error, "a.tar: has manifests that refer to too much");
}

#[test]
fn images_are_not_called_the_same() {
    let (one, two) = (image(&["one"]), image(&["two"]));
    let contents: Vec<_> = one.contents().chain(two.contents()).map(Vec::as_slice).collect();
    let listed = [&one, &two].map(|image| descriptor(MANIFEST, &image.manifest));
    let set = open(layout(&contents, &listed).end()).unwrap();
    let name = |_: &crate::Image| Ok(("a".parse().unwrap(), "b".parse().ok()));
    let error = set.inventory(&name).unwrap_err().to_string();
    assert!(error.contains("a.tar: two images are to be a:b: sha256:"), "{error}");
    let refused = |image: &crate::Image| Err(Error::new(format!("not {}", image.digest)));
    assert!(set.inventory(&refused).unwrap_err().to_string().starts_with("not sha256:"));
    // Nor in two archives.
    let files = Files::new();
    let paths = [&one, &two].map(|image| {
        let tar = repository(Tar::default(), "a", &[(image, Some("t"))]);
        let name = format!("{}.tar", image.digest().encoded());
        files.write(&name, tar.file(&in_registry(&image.digest()), &image.manifest).end())
    });
    let error = files.open(&paths).unwrap_err();
    assert!(error.contains(": a:t is sha256:"), "{error}");
    let error = {
        let other =
            files.write("other.tar", Tar::default().file(&in_registry(&one.digest()), "x").end());
        files.open(&[paths[0].clone(), other]).unwrap_err()
    };
    assert!(
        error.starts_with("other.tar: sha256:") && error.contains("has 1 bytes here"),
        "{error}"
    );
}

#[test]
fn hostile_links_are_refused() {
    let digest = sha256("x");
    let at = "docker/registry/v2/repositories/a/_manifests";
    let revision = format!("{at}/revisions/sha256/{}", digest.encoded());
    let (link, media_type) = (format!("{revision}/link"), format!("{revision}/media-type"));
    let tag = format!("{at}/tags/t/current/link");
    let long = "x".repeat(300);
    let other = sha256("other").to_string();
    for (name, value, expected) in [
        (&link, "nonsense", "/link: does not hold a digest"),
        (&link, &long, "/link: is too large"),
        (&link, &other, "/link: holds another digest than its path"),
        (&tag, "sha256:abc", "/link: does not hold a digest"),
        (&media_type, "nonsense", "/media-type: holds no media type"),
        (&media_type, &long, "/media-type: is too large"),
    ] {
        let error = open(Tar::default().file(name, value).end()).unwrap_err();
        assert!(error.starts_with("a.tar: docker/") && error.ends_with(expected), "{error}");
    }
    // What a loss of power leaves is no link.
    let set = open(Tar::default().file(&tag, "").file(&link, [0; 71]).end()).unwrap();
    assert!(print(&set).is_empty());
}

fn docker(config: &str, layers: &[&str], members: Tar) -> Result<Vec<String>, String> {
    let items = json!([{"Config": "c", "RepoTags": ["a:1"], "Layers": layers}]).to_string();
    let tar = members.file("c", config).file("manifest.json", items);
    open(tar.end()).map(|set| print(&set))
}

#[test]
fn layers_that_stand_for_others() {
    let id = sha256("x");
    let config = json!({"rootfs": {"diff_ids": [id.as_str()]}}).to_string();
    let chain = |length: usize, end: &str| {
        let mut tar = Tar::default().file("end/layer.tar", "x");
        for at in 0..length {
            let target = if at == 0 { end.to_owned() } else { format!("{}", at - 1) };
            let target = format!("../{target}/layer.tar");
            tar = tar.link(EntryType::Symlink, &format!("{at}/layer.tar"), &target);
        }
        let first = format!("{}/layer.tar", length - 1);
        docker(&config, &[&first], tar)
    };
    assert_eq!(chain(1, "end").unwrap().len(), 1);
    assert_eq!(chain(8, "end").unwrap().len(), 1);
    for (length, end, expected) in [
        (9, "end", "8/layer.tar: is a link in a circle, or in too long a chain"),
        (1, "0", "0/layer.tar: is a link in a circle, or in too long a chain"),
        (1, "nowhere", "0/layer.tar: is a link to what is not there"),
    ] {
        assert_eq!(chain(length, end).unwrap_err(), format!("a.tar: {expected}"));
    }
}

#[test]
fn docker_archives_that_lie_are_refused() {
    let id = sha256("x").to_string();
    let config = |ids: &[&str]| json!({"rootfs": {"diff_ids": ids}}).to_string();
    let layer = || Tar::default().file("l", "x");
    assert!(docker(&config(&[&id]), &["l"], layer()).is_ok());
    for (config, layers, expected) in [
        (config(&[]), vec!["l"], "c: has 0 layers in rootfs, and manifest.json has 1 for it"),
        (config(&[&id]), vec!["l", "l"], "c: has 1 layers"),
        (config(&[sha256("y").as_str()]), vec!["l"], "l: has the digest sha256:2d711642"),
        (config(&["sha256:abc"]), vec!["l"], "c: "),
        ("{}".to_owned(), vec!["l"], "c: missing field `rootfs`"),
        (config(&[&id]), vec!["absent"], "absent: is in manifest.json, but not in the archive"),
        (
            config(&vec![id.as_str(); 10_000]),
            vec!["l"; 10_000],
            "has an image with too many layers",
        ),
    ] {
        let error = docker(&config, &layers, layer()).unwrap_err();
        assert!(error.starts_with("a.tar: ") && error.contains(expected), "{expected}: {error}");
    }
    let name = format!("{}.json", sha256("other").encoded());
    let items = json!([{"Config": name, "RepoTags": [], "Layers": []}]).to_string();
    let tar = Tar::default().file(&name, config(&[])).file("manifest.json", items);
    assert!(open(tar.end()).unwrap_err().contains("has another digest: sha256:"));
}
