//! Tags and digests on the command line.

use crate::credentials::is_hub;
use roadstead_oci::{Reference, RepositoryName};

/// A tag or a manifest of a registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// The repository.
    pub name: RepositoryName,
    /// The tag or the digest.
    pub reference: Reference,
}

impl Image {
    /// The same for commands that only know tags and digests.
    ///
    /// # Errors
    /// When it names neither, or is malformed.
    pub fn parse_named(text: &str, target: &str) -> Result<Self, String> {
        if !text.contains([':', '@']) {
            return Err(format!("name a tag or a digest, such as {target}:latest"));
        }
        Self::parse(text, target)
    }

    /// Reads what follows the registry; all of the target is named in messages.
    ///
    /// # Errors
    /// When it names neither a tag nor a digest, or is malformed.
    pub fn parse(text: &str, target: &str) -> Result<Self, String> {
        let (name, reference) = match text.split_once('@') {
            // A digest says more than a tag before it.
            Some((name, digest)) => (name.split(':').next().unwrap_or(name), digest),
            None => text.rsplit_once(':').ok_or_else(|| {
                format!(
                    "name a tag or a digest, such as {target}:latest; for all of the repository: \
                     --repository"
                )
            })?,
        };
        let name = RepositoryName::parse(name).map_err(|error| error.to_string())?;
        let reference = Reference::parse(reference).map_err(|error| error.to_string())?;
        Ok(Self { name, reference })
    }
}

/// The repository as the registry calls it: Docker Hub has those of Docker itself in `library/`.
pub fn at_hub(registry: &str, name: RepositoryName) -> RepositoryName {
    let host = registry.split_once("://").map_or(registry, |(_, host)| host);
    let in_library = || RepositoryName::parse(&format!("library/{name}")).ok();
    if is_hub(host) && !name.as_str().contains('/') { in_library().unwrap_or(name) } else { name }
}

/// The registry, with its scheme if it has one, and what follows; `command` is named in messages.
///
/// # Errors
/// When there is no registry in it.
pub fn split<'a>(text: &'a str, command: &str) -> Result<(&'a str, &'a str), String> {
    const EXAMPLE: &str = "use the form registry.example:5000/team/app:1.2";
    if text.starts_with(['/', '.']) {
        return Err(format!(
            "this is no registry: {EXAMPLE}, or for a data directory that nobody serves: \
             roadstead {command} --directory DIRECTORY team/app:1.2"
        ));
    }
    let start = text.find("://").map_or(0, |at| at + "://".len());
    let rest = text.get(start..).unwrap_or_default();
    let (host, path) = rest.split_once('/').ok_or_else(|| EXAMPLE.to_owned())?;
    // As Docker tells a registry from the first part of a name.
    if host != "localhost" && !host.contains(['.', ':']) {
        return Err(format!("{host} is not a registry: {EXAMPLE}"));
    }
    let registry = text.get(..start + host.len()).unwrap_or_default();
    Ok((registry, path.strip_prefix("v2/").unwrap_or(path)))
}

#[cfg(test)]
mod tests {
    use super::{Image, at_hub, split};
    use roadstead_oci::RepositoryName;

    #[test]
    fn docker_hub_has_a_library() {
        for (registry, name, expected) in [
            ("docker.io", "alpine", "library/alpine"),
            ("https://registry-1.docker.io", "alpine", "library/alpine"),
            ("docker.io", "team/app", "team/app"),
            ("a.example", "alpine", "alpine"),
        ] {
            let name = at_hub(registry, RepositoryName::parse(name).unwrap());
            assert_eq!(name.as_str(), expected);
        }
    }

    #[test]
    fn images_are_read() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, registry, name, reference) in [
            ("localhost:5000/a/b:v1".to_owned(), "localhost:5000", "a/b", "v1"),
            ("localhost/a:v1".to_owned(), "localhost", "a", "v1"),
            ("http://a.example/b:v1".to_owned(), "http://a.example", "b", "v1"),
            ("[::1]:5000/b:v1".to_owned(), "[::1]:5000", "b", "v1"),
            (format!("a.example/b@{digest}"), "a.example", "b", &digest),
            (format!("a.example/b:v1@{digest}"), "a.example", "b", &digest),
        ] {
            let (found, rest) = split(&text, "rm").unwrap();
            let image = Image::parse(rest, &text).unwrap();
            assert_eq!((found, image.name.as_str()), (registry, name));
            assert_eq!(image.reference.to_string(), reference);
        }
        for (text, said) in [
            ("localhost:5000/a/b", "--repository"),
            ("localhost:5000", "registry.example"),
            ("a/b:v1", "not a registry"),
            ("/srv/registry", "--directory"),
            ("a.example/B:v1", "name"),
            ("a.example/b:", "tag"),
            ("a.example/b@v 1", ""),
        ] {
            let image = split(text, "rm").and_then(|(_, rest)| Image::parse(rest, text));
            let problem = image.unwrap_err();
            assert!(problem.contains(said), "{text}: {problem}");
        }
        assert_eq!(
            split("https://a.example:5000/v2/b", "rm").unwrap(),
            ("https://a.example:5000", "b")
        );
    }
}
