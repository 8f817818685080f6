//! What a plan writes is read again.

use super::kit::{
    Built, Files, INDEX, MANIFEST, content, cut, descriptor, holds, image, index, inventory,
    layout, named, open, sha256,
};
use crate::{Body, Format, Inventory, Plan, PlanOptions, Set};
use std::collections::BTreeMap;

/// The volumes of a plan, as bytes.
fn write(set: &Set, inventory: &Inventory, options: &PlanOptions) -> Vec<Vec<u8>> {
    let mut plan = Plan::new(inventory.clone(), options).unwrap();
    for (at, (digest, range)) in plan.split().to_vec().into_iter().enumerate() {
        let bytes = content(set, &digest).unwrap();
        plan.set_piece_digest(at, sha256(cut(&bytes, &range)));
    }
    let volumes = plan.volumes(&|_| Ok(Some(b"signature".to_vec()))).unwrap();
    let volumes = volumes.into_iter().map(|volume| {
        let mut bytes = Vec::new();
        for member in volume.members {
            bytes.extend(member.header());
            match &member.body {
                Body::Bytes(body) => bytes.extend_from_slice(body),
                Body::Content { digest, range, .. } => {
                    let all = content(set, digest).unwrap();
                    bytes.extend(cut(&all, range));
                }
            }
            bytes.extend(vec![0; member.padding()]);
        }
        bytes.extend_from_slice(Plan::END);
        bytes
    });
    volumes.collect()
}

#[test]
fn archives_of_each_format_hold_the_same() {
    let large = "large layer ".repeat(8000);
    let (one, two) = (image(&["one", &large]), image(&["two"]));
    let signature = image(&["signature"]).of(&two);
    let list = index(&[(MANIFEST, &one.manifest), (MANIFEST, &two.manifest)]);
    let all: [&Built; 3] = [&one, &two, &signature];
    let mut contents: Vec<_> =
        all.iter().flat_map(|image| image.contents()).map(Vec::as_slice).collect();
    contents.push(&list);
    let name = "org.opencontainers.image.ref.name";
    let listed = [
        named(descriptor(INDEX, &list), name, "example.com/a/b:1.0"),
        named(descriptor(MANIFEST, &two.manifest), name, "example.com/c:2"),
        descriptor(MANIFEST, &signature.manifest),
    ];
    let source = open(layout(&contents, &listed).end()).unwrap();
    let expected = inventory(&source).unwrap();
    for (format, volume_size, count) in [
        (Format::Oci, None, 1),
        (Format::Docker, None, 1),
        (Format::Registry, None, 1),
        (Format::Registry, Some(60_000), 3),
    ] {
        let options = PlanOptions {
            format,
            volume_size,
            prefix: "example.com/".to_owned(),
            held: [].into(),
            platforms: [(sha256(&list), one.digest())].into(),
        };
        let volumes = write(&source, &expected, &options);
        assert!(volumes.len() >= count, "{format:?}: {}", volumes.len());
        let files = Files::new();
        let paths = volumes.iter().enumerate().rev();
        let paths: Vec<_> =
            paths.map(|(at, bytes)| files.write(&format!("{at}.tar"), bytes)).collect();
        let set = files.open(&paths).unwrap();
        for image in all {
            holds(&set, image);
        }
        let found = inventory(&set).unwrap();
        assert!(set.missing(&found).is_empty());
        let sizes = |inventory: &Inventory| -> BTreeMap<_, _> {
            let contents = inventory.contents.iter();
            contents.map(|(digest, content)| (digest.clone(), content.size)).collect()
        };
        assert_eq!(sizes(&found), sizes(&expected), "{format:?}");
        assert_eq!(found.repositories, expected.repositories, "{format:?}");
    }
}
