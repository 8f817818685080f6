//! Distribution's layout: of each image the blobs, the manifests, the links and the tag, so
//! that nothing leads to what is not there yet.

use super::images::Image;
use super::volumes::{self, Packer, Placed, Source};
use super::{Member, PlanOptions};
use crate::{Inventory, Repository};
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::Key;
use std::collections::HashSet;

pub(super) fn plan(inventory: &mut Inventory, options: &PlanOptions) -> Result<Placed, String> {
    let room = volumes::room(inventory, options)?;
    let Inventory { repositories, contents, .. } = inventory;
    let data = |digest: &Digest| Key::Blob(digest.clone()).to_string();
    let mut packer = Packer::new(contents, &options.held, data, room);
    for (name, repository) in repositories.iter() {
        place_repository(&mut packer, name, repository)?;
    }
    Ok(packer.finish())
}

fn place_repository(
    packer: &mut Packer<'_>,
    name: &RepositoryName,
    repository: &Repository,
) -> Result<(), String> {
    let mut linked = HashSet::new();
    for image in repository.images() {
        place_contents(packer, name, &image)?;
        for (digest, manifest) in &image.manifests {
            for blob in manifest.blobs.iter().filter(|blob| linked.insert(*blob)) {
                let link = Key::Layer(name.clone(), blob.clone());
                packer.place(value(&link, blob.as_str()))?;
            }
            // The media type first: no manifest is without it for a moment.
            let link = Key::Revision(name.clone(), (*digest).clone());
            if let Some(companion) = link.companion() {
                packer.place(value(&companion, manifest.media_type.as_str()))?;
            }
            packer.place(value(&link, digest.as_str()))?;
        }
        let Some(tag) = image.tag else { continue };
        let (root, text) = (image.root.clone(), image.root.as_str());
        packer.place(value(&Key::TagHistory(name.clone(), tag.clone(), root), text))?;
        packer.place(value(&Key::Tag(name.clone(), tag.clone()), text))?;
    }
    Ok(())
}

/// Places the blobs of an image, then its manifests.
pub(super) fn place_contents(
    packer: &mut Packer<'_>,
    repository: &RepositoryName,
    image: &Image<'_>,
) -> Result<(), String> {
    for blob in image.manifests.iter().flat_map(|(_, manifest)| &manifest.blobs) {
        packer.place_content(Source { repository, digest: blob, manifest: false })?;
    }
    for (digest, _) in &image.manifests {
        packer.place_content(Source { repository, digest, manifest: true })?;
    }
    Ok(())
}

fn value(key: &Key, text: &str) -> Member {
    Member::new(key.to_string(), text.to_owned())
}
