//! What images are called that are served from archives: as in the archive, without the
//! registry that they come from.

use anyhow::bail;
use roadstead_archive::{Image, Name};
use roadstead_oci::{Digest, RepositoryName, Tag};
use std::collections::BTreeMap;

/// What an image is called.
pub(super) type Called = (RepositoryName, Option<Tag>);

/// The tag of the only image of an archive that has no name at all.
const LATEST: &str = "latest";

/// Names for all images. `unnamed` is the repository of those that have none.
///
/// # Errors
/// When two different images would have the same name, or one would have none.
pub(super) fn name(
    images: &[Image],
    unnamed: Option<&RepositoryName>,
) -> anyhow::Result<BTreeMap<(Name, Digest), Called>> {
    let has_none = |image: &&Image| image.name.repository.is_none() && image.name.tag.is_none();
    let alone = images.iter().filter(has_none).count() == 1;
    let mut names = BTreeMap::new();
    let mut tags: BTreeMap<(RepositoryName, Tag), &Image> = BTreeMap::new();
    for image in images {
        let Some(repository) = image.name.repository.as_ref().or(unnamed) else {
            bail!(
                "the image {} has no name; serve its archive alone, so that it is called as the \
                 file, which needs a name such as alpine.tar",
                image.digest
            );
        };
        let mut tag = image.name.tag.clone();
        if alone && has_none(&image) {
            tag = Tag::parse(LATEST).ok();
        }
        if let Some(tag) = &tag
            && let Some(other) = tags.insert((repository.clone(), tag.clone()), image)
            && other.digest != image.digest
        {
            bail!(
                "{} and {} are different images, and both would be {repository}:{tag} here; serve \
                 their archives one at a time",
                in_full(other),
                in_full(image)
            );
        }
        let key = (image.name.clone(), image.digest.clone());
        names.insert(key, (repository.clone(), tag));
    }
    Ok(names)
}

/// An image's name in its archive, and its digest.
fn in_full(image: &Image) -> String {
    format!("{}@{}", image.name, image.digest)
}

#[cfg(test)]
mod tests {
    use super::name;
    use roadstead_archive::{Image, Name};
    use roadstead_oci::{Algorithm, Digest, RepositoryName, Tag};

    /// `host repository tag digit`, each `-` where there is none.
    fn image(text: &str) -> Image {
        let parts: Vec<_> = text.split(' ').map(|it| Some(it).filter(|it| *it != "-")).collect();
        let name = Name {
            host: parts[0].map(str::to_owned),
            repository: parts[1].map(|it| RepositoryName::parse(it).unwrap()),
            tag: parts[2].map(|it| Tag::parse(it).unwrap()),
        };
        let bytes = [parts[3].unwrap().parse().unwrap(); 32];
        let digest = Digest::from_bytes(Algorithm::Sha256, &bytes).unwrap();
        Image { name, digest, media_type: None }
    }

    /// The names, or the error with `…` for what follows digests' beginnings.
    fn named(images: &[&str], unnamed: Option<&str>) -> Result<Vec<String>, String> {
        let images: Vec<Image> = images.iter().map(|text| image(text)).collect();
        let unnamed = unnamed.map(|it| RepositoryName::parse(it).unwrap());
        let names = name(&images, unnamed.as_ref()).map_err(|error| error.to_string())?;
        let shown = names.values().map(|(repository, tag)| match tag {
            Some(tag) => format!("{repository}:{tag}"),
            None => repository.to_string(),
        });
        Ok(shown.collect())
    }

    #[test]
    fn images_are_called_as_in_the_archive_without_its_registry() {
        for (images, unnamed, expected) in [
            (&["docker.io alpine 3 1"][..], None, &["alpine:3"][..]),
            (&["r.example:5000 a/b - 1"], Some("x"), &["a/b"]),
            (&["- - - 1"], Some("x"), &["x:latest"]),
            (&["- - v1 1"], Some("x"), &["x:v1"]),
            (&["- - v1 1", "- - - 2"], Some("x"), &["x:latest", "x:v1"]),
            (&["- - - 1", "- - - 2"], Some("x"), &["x", "x"]),
            // The same image from two registries.
            (&["docker.io a 1 1", "quay.io a 1 1"], None, &["a:1", "a:1"]),
            (&["docker.io a 1 1", "quay.io a 2 2"], None, &["a:1", "a:2"]),
        ] {
            let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
            assert_eq!(named(images, unnamed), Ok(expected), "{images:?}");
        }
    }

    #[test]
    fn names_that_do_not_tell_images_apart() {
        for (images, unnamed, expected) in [
            (&["docker.io a 1 1", "quay.io a 1 2"][..], None, "docker.io/a:1@sha256:0101"),
            (&["docker.io a 1 1", "quay.io a 1 2"], None, "quay.io/a:1@sha256:0202"),
            (&["- a 1 1", "- a 1 2"], None, "both would be a:1 here"),
            (&["- - 1 1", "- a 1 2"], Some("a"), "both would be a:1 here"),
            (&["- - v1 1"], None, "sha256:0101"),
        ] {
            let error = named(images, unnamed).unwrap_err();
            assert!(error.contains(expected), "{images:?}: {error}");
        }
    }
}
