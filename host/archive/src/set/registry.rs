//! The directories of registries: images by the links of repositories.

use super::error::Error;
use super::scan::{Links, Scan};
use super::{Group, Name, Set};
use std::collections::btree_map::Entry;

/// Adds the links of an archive. A repository may be in several.
pub(super) fn add(set: &mut Set, label: &str, scan: Scan) -> Result<(), Error> {
    for (name, links) in scan.repositories {
        let known = set.repositories.entry(name.clone()).or_default();
        known.revisions.extend(links.revisions);
        known.media_types.extend(links.media_types);
        for (tag, digest) in links.tags {
            match known.tags.entry(tag) {
                Entry::Vacant(place) => {
                    place.insert(digest);
                }
                Entry::Occupied(place) if *place.get() == digest => {}
                Entry::Occupied(place) => {
                    let (tag, before) = (place.key(), place.get());
                    let why = format!(
                        "{name}:{tag} is {digest}, but in another archive it is {before}; give \
                         one of them only"
                    );
                    return Err(Error::of(label, why));
                }
            }
        }
    }
    Ok(())
}

/// The images of all repositories, once all archives are known.
pub(super) fn group(set: &mut Set) {
    for (name, links) in std::mem::take(&mut set.repositories) {
        let Links { revisions, mut media_types, tags } = links;
        let mut group = Group {
            label: format!("repository {name}"),
            repository: Some(name.clone()),
            ..Group::default()
        };
        for digest in revisions.into_iter().chain(tags.values().cloned()) {
            let media_type = media_types.remove(&digest);
            let known = group.known.entry(digest).or_default();
            *known = known.take().or(media_type);
        }
        for (tag, digest) in tags {
            let name = Name { host: None, repository: Some(name.clone()), tag: Some(tag) };
            group.roots.push((name, digest));
        }
        set.groups.push(group);
    }
}
