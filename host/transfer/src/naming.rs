//! What images are called in the target.

use roadstead_archive::{Image, Name};
use roadstead_oci::{Digest, RepositoryName, Tag};
use std::collections::BTreeMap;

/// How images are named.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Naming {
    /// Put this before the names of repositories: mirror makes mirror/alpine of alpine
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Rename a repository, or all below a path; OLD may begin with the registry. Can be repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = renaming)]
    rename: Vec<(String, String)>,
    /// Keep the registry in names: docker.io/library/alpine instead of alpine; the colon before a
    /// port becomes a hyphen
    #[arg(long)]
    keep_registry: bool,
}

/// Where a repository comes from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The registry.
    pub(crate) host: Option<String>,
    /// The repository as Docker shows it.
    pub(crate) repository: RepositoryName,
}

/// The names of images in the target, by those in the archive.
pub(crate) type Names = BTreeMap<(Name, Digest), (RepositoryName, Option<Tag>)>;

fn renaming(text: &str) -> Result<(String, String), String> {
    let (old, new) = text.split_once('=').ok_or("write it as OLD=NEW")?;
    Ok((old.trim_matches('/').to_owned(), new.trim_matches('/').to_owned()))
}

impl Naming {
    /// Names images. `given` is what `--tag` says.
    ///
    /// # Errors
    /// When one has no name or an impossible one, or two have the same.
    pub(crate) fn names(&self, images: &[Image], given: Option<&str>) -> Result<Names, String> {
        let mut names = Names::new();
        let mut taken: BTreeMap<(RepositoryName, Tag), &Image> = BTreeMap::new();
        for image in images {
            let (repository, tag) = match given {
                Some(given) => self.given(given, image, images)?,
                None => self.of(image)?,
            };
            if let Some(tag) = &tag {
                let other = taken.insert((repository.clone(), tag.clone()), image);
                if let Some(other) = other.filter(|other| other.digest != image.digest) {
                    return Err(format!(
                        "{} and {} would both be {repository}:{tag}; use --keep-registry or \
                         --rename",
                        other.name, image.name
                    ));
                }
            }
            names.insert((image.name.clone(), image.digest.clone()), (repository, tag));
        }
        Ok(names)
    }

    /// The name of `--tag`.
    fn given(
        &self,
        given: &str,
        image: &Image,
        all: &[Image],
    ) -> Result<(RepositoryName, Option<Tag>), String> {
        let (name, tag) = match given.rsplit_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (given, None),
        };
        let several = all.iter().any(|other| other.digest != image.digest);
        if several && (tag.is_some() || all.iter().any(|it| it.name.repository.is_some())) {
            return Err("--tag is for archives of one image; use --rename".to_owned());
        }
        let repository = self.prefixed(name)?;
        let tag = match (tag, &image.name.tag) {
            (Some(tag), _) => Some(Tag::parse(tag).map_err(|error| format!("--tag: {error}"))?),
            (None, Some(tag)) => Some(tag.clone()),
            (None, None) if several => None,
            (None, None) => Tag::parse("latest").ok(),
        };
        Ok((repository, tag))
    }

    fn of(&self, image: &Image) -> Result<(RepositoryName, Option<Tag>), String> {
        let Name { host, repository, tag } = &image.name;
        let Some(repository) = repository.clone() else {
            let tag = tag.as_ref().map(|tag| format!(" (tag {tag})")).unwrap_or_default();
            return Err(format!(
                "{}{tag} has no name in the archive; give one with --tag NAME:TAG",
                image.digest
            ));
        };
        let named = self.repository(&Origin { host: host.clone(), repository })?;
        Ok((named, tag.clone()))
    }

    /// The name that a repository gets.
    ///
    /// # Errors
    /// When it is impossible.
    pub(crate) fn repository(&self, origin: &Origin) -> Result<RepositoryName, String> {
        let Origin { host, repository } = origin;
        let with_registry = match host {
            Some(host) if host == "docker.io" && !repository.as_str().contains('/') => {
                format!("docker.io/library/{repository}")
            }
            Some(host) => format!("{host}/{repository}"),
            None => repository.to_string(),
        };
        let renamed = self.rename.iter().find_map(|(old, new)| {
            renamed(&with_registry, old, new).or_else(|| renamed(repository.as_str(), old, new))
        });
        let name = match renamed {
            Some(renamed) => renamed,
            // A port is no part of a repository's name.
            None if self.keep_registry => with_registry.replace(':', "-"),
            None => repository.to_string(),
        };
        self.prefixed(&name)
    }

    fn prefixed(&self, name: &str) -> Result<RepositoryName, String> {
        let name = match &self.prefix {
            Some(prefix) => format!("{}/{name}", prefix.trim_matches('/')),
            None => name.to_owned(),
        };
        RepositoryName::parse(&name).map_err(|error| format!("{name}: {error}"))
    }
}

/// A name of which `old` is all, or the beginning of its path.
fn renamed(name: &str, old: &str, new: &str) -> Option<String> {
    match name.strip_prefix(old)? {
        "" => Some(new.to_owned()),
        rest if rest.starts_with('/') => Some(format!("{new}{rest}").trim_matches('/').to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Naming, renaming};
    use roadstead_archive::{Image, Name};
    use roadstead_oci::{Digest, RepositoryName, Tag};

    fn image(
        host: Option<&str>,
        repository: Option<&str>,
        tag: Option<&str>,
        digit: char,
    ) -> Image {
        let name = Name {
            host: host.map(str::to_owned),
            repository: repository.map(|it| RepositoryName::parse(it).unwrap()),
            tag: tag.map(|it| Tag::parse(it).unwrap()),
        };
        let digest = format!("sha256:{}", digit.to_string().repeat(64));
        Image { name, digest: Digest::parse(&digest).unwrap(), media_type: None }
    }

    fn named(
        naming: &Naming,
        given: Option<&str>,
        images: &[Image],
    ) -> Result<Vec<String>, String> {
        let names = naming.names(images, given)?;
        let shown = names.values().map(|(name, tag)| {
            tag.as_ref().map_or_else(|| name.to_string(), |tag| format!("{name}:{tag}"))
        });
        Ok(shown.collect())
    }

    #[test]
    fn images_get_names() {
        let hub = image(Some("docker.io"), Some("alpine"), Some("3"), 'a');
        let other = image(Some("quay.io:443"), Some("team/app"), Some("1"), 'b');
        let plain = image(None, Some("team/app"), Some("2"), 'c');
        let default = Naming::default();
        let kept = Naming { keep_registry: true, ..Naming::default() };
        let prefixed = Naming { prefix: Some("/m/".to_owned()), ..Naming::default() };
        let rename =
            |text: &str| Naming { rename: vec![renaming(text).unwrap()], ..Naming::default() };
        let nameless = image(None, None, None, 'd');
        for (naming, given, image, expected) in [
            (&default, None, &hub, "alpine:3"),
            (&default, None, &other, "team/app:1"),
            (&kept, None, &hub, "docker.io/library/alpine:3"),
            (&kept, None, &other, "quay.io-443/team/app:1"),
            (&kept, None, &plain, "team/app:2"),
            (&prefixed, None, &plain, "m/team/app:2"),
            (&rename("team=old"), None, &plain, "old/app:2"),
            (&rename("team/app=x"), None, &plain, "x:2"),
            (&rename("docker.io/library=hub"), None, &hub, "hub/alpine:3"),
            (&rename("alp=x"), None, &hub, "alpine:3"),
            (&default, Some("a/b:c"), &hub, "a/b:c"),
            (&default, Some("a/b"), &hub, "a/b:3"),
            (&prefixed, Some("a/b"), &nameless, "m/a/b:latest"),
        ] {
            let found = named(naming, given, std::slice::from_ref(image));
            assert_eq!(found, Ok(vec![expected.to_owned()]), "{naming:?}");
        }
        let same = image(Some("ghcr.io"), Some("alpine"), Some("3"), 'e');
        for (naming, given, images, said) in [
            (&default, None, vec![nameless.clone()], "sha256:dddd"),
            (&default, None, vec![hub.clone(), same.clone()], "--keep-registry"),
            (&default, Some("a:1"), vec![hub.clone(), other.clone()], "--rename"),
            (&rename("alpine=A"), None, vec![hub.clone()], "A"),
        ] {
            let problem = named(naming, given, &images).unwrap_err();
            assert!(problem.contains(said), "{problem}");
        }
        assert_eq!(named(&kept, None, &[hub, same]).map(|it| it.len()), Ok(2));
    }
}
