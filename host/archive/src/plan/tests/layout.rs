use super::super::{Format, Plan, layout::full_name};
use super::{options, sha256, small};
use roadstead_oci::Digest;
use serde_json::{Value, json};

/// The members, with JSON where they have it.
fn read(format: Format, prefix: &str, platforms: &[(&Digest, &Digest)]) -> Vec<(String, Value)> {
    let mut options = options(format);
    prefix.clone_into(&mut options.prefix);
    options.platforms =
        platforms.iter().map(|(index, child)| ((*index).clone(), (*child).clone())).collect();
    let members = small().read(&options).into_iter().map(|(name, bytes)| {
        if name.starts_with("blobs/") {
            assert_eq!(name, blob(&sha256(&bytes)));
        }
        (name, serde_json::from_slice(&bytes).unwrap_or_default())
    });
    members.collect()
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.encoded())
}

fn tagged(repository: &str, tag: &str) -> Digest {
    let repository = &small().inventory.repositories[&repository.parse().unwrap()];
    repository.tags[&tag.parse().unwrap()].clone()
}

#[test]
fn an_oci_layout_has_everything_once_and_its_index_last() {
    let members = read(Format::Oci, "", &[]);
    let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
    let [first, blobs @ .., last] = &names[..] else { panic!("{names:?}") };
    assert_eq!((*first, *last), ("oci-layout", "index.json"));
    let mut expected: Vec<_> = small().bytes.keys().map(blob).collect();
    let mut blobs = blobs.to_vec();
    blobs.sort_unstable();
    expected.sort_unstable();
    assert_eq!(blobs, expected);
    assert_eq!(members[0].1, json!({"imageLayoutVersion": "1.0.0"}));
    let index = &members.last().unwrap().1;
    assert_eq!(index["schemaVersion"], 2);
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
}

#[test]
fn an_index_has_tags_and_what_nothing_leads_to() {
    const FULL: &str = "io.containerd.image.name";
    const NAME: &str = "org.opencontainers.image.ref.name";
    let registry = small();
    let app = &registry.inventory.repositories[&"a/app".parse().unwrap()];
    let referrers = app.manifests.iter().filter(|(_, manifest)| manifest.subject.is_some());
    let [referrer] = referrers.map(|(digest, _)| digest).collect::<Vec<_>>()[..] else { panic!() };
    for (prefix, full_app, full_other) in [
        ("", "docker.io/a/app", "docker.io/library/other"),
        ("r.example:5000/", "r.example:5000/a/app", "r.example:5000/other"),
    ] {
        let tag = |full: &str, name: &str, tag: &str| {
            let digest = tagged(name, tag);
            let media_type = match tag {
                "latest" => "application/vnd.oci.image.index.v1+json",
                _ => "application/vnd.oci.image.manifest.v1+json",
            };
            json!({
                "mediaType": media_type,
                "digest": digest,
                "size": registry.bytes[&digest].len(),
                "annotations": {
                    FULL: format!("{full}:{tag}"),
                    NAME: format!("{prefix}{name}:{tag}"),
                },
            })
        };
        let members = read(Format::Oci, prefix, &[]);
        let expected = json!([
            tag(full_app, "a/app", "latest"),
            tag(full_app, "a/app", "one"),
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": referrer,
                "size": registry.bytes[referrer].len(),
                "annotations": {FULL: format!("{full_app}@{referrer}")},
            },
            tag(full_other, "other", "v1"),
            tag(full_other, "other", "v2"),
        ]);
        assert_eq!(members.last().unwrap().1["manifests"], expected);
    }
}

#[test]
fn dockers_manifest_has_images_with_one_platform() {
    let registry = small();
    let (index, one, other) =
        (tagged("a/app", "latest"), tagged("a/app", "one"), tagged("other", "v1"));
    let children =
        &registry.inventory.repositories[&"a/app".parse().unwrap()].manifests[&index].children;
    let two = children.iter().find(|child| **child != one).unwrap();
    let image = |repository: &str, digest: &Digest, tags: &[&str]| {
        let manifests = &registry.inventory.repositories[&repository.parse().unwrap()].manifests;
        let blobs: Vec<_> = manifests[digest].blobs.iter().map(blob).collect();
        json!({"Config": blobs[0], "RepoTags": tags, "Layers": blobs[1..]})
    };
    let others = image("other", &other, &["h/other:v1", "h/other:v2"]);
    for (platforms, expected) in [
        (vec![], json!([image("a/app", &one, &["h/a/app:one"]), others])),
        (
            vec![(&index, &one)],
            json!([image("a/app", &one, &["h/a/app:latest", "h/a/app:one"]), others]),
        ),
        (
            vec![(&index, two)],
            json!([
                image("a/app", two, &["h/a/app:latest"]),
                image("a/app", &one, &["h/a/app:one"]),
                others
            ]),
        ),
    ] {
        let members = read(Format::Docker, "h/", &platforms);
        let [.., (name, manifest), (last, _)] = &members[..] else { panic!() };
        assert_eq!((name.as_str(), last.as_str()), ("manifest.json", "index.json"));
        assert_eq!(*manifest, expected);
        // A layer that an image has twice is listed twice.
        assert_eq!(image("a/app", two, &[])["Layers"].as_array().unwrap().len(), 3);
    }
}

#[test]
fn what_is_no_image_is_not_in_dockers_manifest() {
    let mut registry = super::Registry::default();
    let chart = "application/vnd.cncf.helm.config.v1+json";
    let chart = registry.artifact("chart", "{}", &[b"chart"], chart, None);
    registry.tag("chart", "1", &chart);
    let members = registry.read(&options(Format::Docker));
    let manifest = members.iter().find(|(name, _)| name == "manifest.json").unwrap();
    assert_eq!(manifest.1, b"[]");
    let index: Value = serde_json::from_slice(&members.last().unwrap().1).unwrap();
    assert_eq!(index["manifests"][0]["digest"], json!(chart));
}

#[test]
fn layouts_have_no_volumes() {
    for format in [Format::Docker, Format::Oci] {
        let mut options = options(format);
        options.volume_size = Some(1 << 30);
        let error = Plan::new(small().inventory, &options).unwrap_err();
        assert!(error.contains("only registry archives can have volumes"), "{error}");
        options.volume_size = None;
        let plan = Plan::new(small().inventory, &options).unwrap();
        let volumes = plan.volumes(&|_| panic!("there is no inventory to sign")).unwrap();
        assert_eq!(volumes.len(), 1);
    }
}

#[test]
fn contents_that_the_other_side_has_are_not_in_layouts() {
    let mut options = options(Format::Oci);
    let all = small().read(&options).len();
    options.held = [sha256(b"base")].into();
    let rest = small().read(&options);
    assert_eq!(rest.len(), all - 1);
    assert!(rest.iter().all(|(name, _)| *name != blob(&sha256(b"base"))));
}

#[test]
fn names_are_completed_as_docker_does() {
    for (name, full) in [
        ("alpine", "docker.io/library/alpine"),
        ("grafana/grafana", "docker.io/grafana/grafana"),
        ("docker.io/alpine", "docker.io/library/alpine"),
        ("docker.io/grafana/grafana", "docker.io/grafana/grafana"),
        ("registry.example/alpine", "registry.example/alpine"),
        ("registry:5000/alpine", "registry:5000/alpine"),
        ("localhost/alpine", "localhost/alpine"),
        ("a.b", "docker.io/library/a.b"),
    ] {
        assert_eq!(full_name(name), full, "{name}");
    }
}
