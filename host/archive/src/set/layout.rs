//! OCI layouts: images by `index.json`.

use super::docker::{self, Item};
use super::error::Error;
use super::files::Archive;
use super::{Group, Name, Set, names};
use roadstead_oci::Descriptor;
use serde::Deserialize;

/// The largest `index.json`, `manifest.json` or configuration of an image.
///
/// Limit: bytes of JSON in an archive; test: `hostile_documents_are_refused`.
pub(super) const JSON: usize = 16 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    image_layout_version: String,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

/// Whether `oci-layout` is that of a layout that is understood.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let version: Version =
        serde_json::from_slice(bytes).map_err(|error| format!("oci-layout: {error}"))?;
    match version.image_layout_version.strip_prefix("1.") {
        Some(_) => Ok(()),
        None => Err("oci-layout: is of another version than 1".to_owned()),
    }
}

/// Adds the images of an OCI layout. Returns the images of Docker's `manifest.json` that are
/// not among them.
pub(super) fn add(
    set: &mut Set,
    archive: usize,
    index: &[u8],
    items: Vec<Item>,
) -> Result<Vec<Item>, Error> {
    let label = set.archives.get(archive).map_or("", |archive: &Archive| &archive.label).to_owned();
    let index: Index = serde_json::from_slice(index)
        .map_err(|error| Error::entry(&label, b"index.json", error))?;
    let mut group = Group { label: label.clone(), ..Group::default() };
    for descriptor in index.manifests.unwrap_or_default() {
        let name = names::parse_annotations(&descriptor.annotations)
            .map_err(|why| Error::entry(&label, b"index.json", why))?;
        set.check_size(&descriptor.digest, descriptor.size, &label)?;
        if !set.contents.contains_key(&descriptor.digest) {
            let why = format_args!("lists {}, which is not in the archive", descriptor.digest);
            return Err(Error::entry(&label, b"index.json", why));
        }
        group.roots.push((name, descriptor.digest.clone()));
        group.known.insert(descriptor.digest, Some(descriptor.media_type));
    }
    let items = if items.is_empty() { items } else { name(set, &label, &mut group, items)? };
    set.groups.push(group);
    Ok(items)
}

/// Gives images without names those that Docker's `manifest.json` has.
fn name(set: &Set, label: &str, group: &mut Group, items: Vec<Item>) -> Result<Vec<Item>, Error> {
    let configs = docker::configs(set, group)?;
    let mut others = Vec::new();
    for item in items {
        let root = item.config().and_then(|config| configs.get(&config));
        let Some(root) = root else {
            others.push(item);
            continue;
        };
        let named = |(name, digest): &(Name, _)| digest == root && *name != Name::default();
        let tags = item.names().map_err(|why| Error::entry(label, b"manifest.json", why))?;
        if tags.is_empty() || group.roots.iter().any(named) {
            continue;
        }
        group.roots.retain(|(_, digest)| digest != root);
        group.roots.extend(tags.into_iter().map(|name| (name, root.clone())));
    }
    Ok(others)
}
