//! OCI layouts, and Docker's archives, which are OCI layouts with a `manifest.json`.

use super::registry::place_contents;
use super::volumes::{Packer, Placed};
use super::{Format, Member, PlanOptions};
use crate::{Inventory, Repository};
use roadstead_oci::media_type::OCI_IMAGE_INDEX;
use roadstead_oci::{Digest, MediaType, RepositoryName};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// The full name of an image, as containerd reads it.
const FULL_NAME: &str = "io.containerd.image.name";

/// What users call an image: skopeo compares it with what they type.
const NAME: &str = "org.opencontainers.image.ref.name";

/// The media types of the config of an image that can run.
const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// `oci-layout`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    image_layout_version: &'static str,
}

/// `index.json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u32,
    media_type: &'static str,
    manifests: Vec<Entry<'a>>,
}

/// A manifest that `index.json` lists.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    media_type: &'a MediaType,
    digest: &'a Digest,
    size: u64,
    annotations: BTreeMap<&'static str, String>,
}

/// An image that `manifest.json` lists.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

pub(super) fn plan(inventory: &mut Inventory, options: &PlanOptions) -> Result<Placed, String> {
    let Inventory { repositories, contents, .. } = inventory;
    let mut packer = Packer::new(contents, &options.held, path, u64::MAX);
    let version = Version { image_layout_version: "1.0.0" };
    packer.place(json("oci-layout", &version)?)?;
    let mut manifests = Vec::new();
    for (name, repository) in repositories.iter() {
        for image in repository.images() {
            place_contents(&mut packer, name, &image)?;
        }
        let prefixed = format!("{}{name}", options.prefix);
        manifests.extend(entries(&packer, &prefixed, repository));
    }
    // What leads to all others comes last.
    if options.format == Format::Docker {
        packer.place(json("manifest.json", &docker_images(repositories, options))?)?;
    }
    let index = Index { schema_version: 2, media_type: OCI_IMAGE_INDEX, manifests };
    packer.place(json("index.json", &index)?)?;
    Ok(packer.finish())
}

/// The tags of a repository, and the manifests that nothing else leads to.
fn entries<'a>(packer: &Packer<'_>, name: &str, repository: &'a Repository) -> Vec<Entry<'a>> {
    let full_name = full_name(name);
    let tagged = repository.tags.iter().map(|(tag, digest)| {
        let names = [(FULL_NAME, format!("{full_name}:{tag}")), (NAME, format!("{name}:{tag}"))];
        (digest, BTreeMap::from(names))
    });
    let untagged = repository
        .untagged_roots()
        .map(|digest| (digest, BTreeMap::from([(FULL_NAME, format!("{full_name}@{digest}"))])));
    let entries = tagged.chain(untagged).filter_map(|(digest, annotations)| {
        let media_type = &repository.manifests.get(digest)?.media_type;
        Some(Entry { media_type, digest, size: packer.size(digest), annotations })
    });
    entries.collect()
}

/// The images with tags that have one platform, or of which one platform was chosen.
fn docker_images(
    repositories: &BTreeMap<RepositoryName, Repository>,
    options: &PlanOptions,
) -> Vec<DockerImage> {
    let mut images: Vec<DockerImage> = Vec::new();
    let mut known = HashMap::new();
    for (name, repository) in repositories {
        for (tag, digest) in &repository.tags {
            let digest = options.platforms.get(digest).unwrap_or(digest);
            let Some(image) = docker_image(repository, digest) else { continue };
            let at = *known.entry(digest).or_insert(images.len());
            if at == images.len() {
                images.push(image);
            }
            if let Some(image) = images.get_mut(at) {
                image.repo_tags.push(format!("{}{name}:{tag}", options.prefix));
            }
        }
    }
    images
}

fn docker_image(repository: &Repository, digest: &Digest) -> Option<DockerImage> {
    let manifest = repository.manifests.get(digest)?;
    let kind = manifest.artifact_type.as_ref()?;
    let (config, layers) = manifest.blobs.split_first()?;
    IMAGE_CONFIGS.contains(&kind.as_str()).then(|| DockerImage {
        config: path(config),
        repo_tags: Vec::new(),
        layers: layers.iter().map(path).collect(),
    })
}

/// A name as Docker completes it: with a registry, and Docker Hub's directory of images that
/// belong to nobody.
pub(super) fn full_name(name: &str) -> String {
    const HUB: &str = "docker.io";
    let (host, path) = match name.split_once('/') {
        Some((first, path)) if crate::is_registry(first) => (first, path),
        _ => (HUB, name),
    };
    let library = if host == HUB && !path.contains('/') { "library/" } else { "" };
    format!("{host}/{library}{path}")
}

/// Where a content is in the layout.
fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.encoded())
}

fn json(name: &str, value: &impl Serialize) -> Result<Member, String> {
    let bytes = serde_json::to_vec(value).map_err(|error| format!("{name}: {error}"))?;
    Ok(Member::new(name, bytes))
}
