//! Names of images in archives: `host:port/repository:tag@digest`.

use super::Name;
use roadstead_oci::{Digest, RepositoryName, Tag};
use std::collections::BTreeMap;

/// The longest name.
///
/// Limit: bytes of the name of an image; test: `names_that_are_none`.
const NAME: usize = 1024;

/// containerd's annotation: a full name.
const CONTAINERD: &str = "io.containerd.image.name";

/// The specification's annotation: a full name or, as in most layouts, a tag.
const REFERENCE: &str = "org.opencontainers.image.ref.name";

/// Parses what Docker calls an image: without a tag and a digest, it is the latest.
pub(super) fn parse_docker(text: &str) -> Result<Name, String> {
    let (mut name, has_digest) = parse(text)?;
    if name.tag.is_none() && !has_digest {
        name.tag = Tag::parse("latest").ok();
    }
    Ok(name)
}

/// The name that the annotations of an image in an OCI layout have.
pub(super) fn parse_annotations(annotations: &BTreeMap<String, String>) -> Result<Name, String> {
    if let Some(text) = annotations.get(CONTAINERD) {
        return parse_docker(text);
    }
    match annotations.get(REFERENCE) {
        None => Ok(Name::default()),
        Some(text) => match Tag::parse(text) {
            Ok(tag) => Ok(Name { tag: Some(tag), ..Name::default() }),
            Err(_) => parse(text).map(|(name, _)| name),
        },
    }
}

/// Parses a name, and tells whether a digest is in it.
fn parse(text: &str) -> Result<(Name, bool), String> {
    let shown = super::error::shown(text.as_bytes());
    if text.len() > NAME {
        return Err(format!("the name {shown} is too long"));
    }
    let wrong = |why: &dyn std::fmt::Display| format!("the name {shown}: {why}");
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        Digest::parse(digest).map_err(|error| wrong(&error))?;
    }
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (rest, None),
    };
    let tag = tag.map(Tag::parse).transpose().map_err(|error| wrong(&error))?;
    let (host, path) = match path.split_once('/') {
        Some((first, rest)) if is_registry(first) => (Some(first), rest),
        _ => (None, path),
    };
    if host.is_some_and(|host| !is_valid_host(host)) {
        return Err(wrong(&"its host is none"));
    }
    let (host, path) = match host {
        Some("docker.io" | "index.docker.io") => {
            let official = path.strip_prefix("library/").filter(|rest| !rest.contains('/'));
            (Some("docker.io"), official.unwrap_or(path))
        }
        host => (host, path),
    };
    let repository = RepositoryName::parse(path).map_err(|error| wrong(&error))?;
    let host = host.map(str::to_owned);
    Ok((Name { host, repository: Some(repository), tag }, digest.is_some()))
}

/// Whether the first component of an image's name is a registry, as Docker sees it, and not a
/// part of the repository's name.
pub fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

fn is_valid_host(host: &str) -> bool {
    host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::{CONTAINERD, NAME, REFERENCE, parse_annotations, parse_docker};
    use crate::Name;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn print(name: &Name) -> String {
        let host = name.host.as_deref().unwrap_or("-");
        let repository = name.repository.as_ref().map_or("-", |name| name.as_str());
        let tag = name.tag.as_ref().map_or("-", |tag| tag.as_str());
        format!("{host} {repository} {tag}")
    }

    #[test]
    fn names_of_docker() {
        let digest = format!("a/b@{DIGEST}");
        let both = format!("example.com/a:1@{DIGEST}");
        for (text, expected) in [
            ("alpine", "- alpine latest"),
            ("alpine:3", "- alpine 3"),
            ("a/b", "- a/b latest"),
            ("docker.io/library/alpine:3", "docker.io alpine 3"),
            ("index.docker.io/library/alpine", "docker.io alpine latest"),
            ("docker.io/library/a/b:1", "docker.io library/a/b 1"),
            ("docker.io/a/b:1", "docker.io a/b 1"),
            ("example.com/library/a:1", "example.com library/a 1"),
            ("localhost/a", "localhost a latest"),
            ("localhost:5000/a/b:1.2", "localhost:5000 a/b 1.2"),
            ("localhost:5000", "- localhost 5000"),
            ("[::1]:5000/a:1", "[::1]:5000 a 1"),
            (digest.as_str(), "- a/b -"),
            (both.as_str(), "example.com a 1"),
        ] {
            assert_eq!(parse_docker(text).as_ref().map(print), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn names_of_layouts() {
        let docker = (CONTAINERD, "docker.io/library/alpine:3");
        for (annotations, expected) in [
            (vec![], "- - -"),
            (vec![("other", "a:1")], "- - -"),
            (vec![(REFERENCE, "latest")], "- - latest"),
            (vec![(REFERENCE, "1.2_a")], "- - 1.2_a"),
            (vec![(REFERENCE, "alpine:3")], "- alpine 3"),
            (vec![(REFERENCE, "docker.io/library/alpine")], "docker.io alpine -"),
            (vec![docker, (REFERENCE, "9")], "docker.io alpine 3"),
            (vec![(CONTAINERD, "alpine")], "- alpine latest"),
        ] {
            let map = annotations.iter().map(|(key, value)| (key.to_string(), value.to_string()));
            let name = parse_annotations(&map.collect());
            assert_eq!(name.as_ref().map(print), Ok(expected.to_owned()), "{annotations:?}");
        }
    }

    #[test]
    fn names_that_are_none() {
        let long = "a".repeat(NAME + 1);
        for (text, why) in [
            ("", "empty"),
            ("Alpine", "'A'"),
            ("../a", "host is none"),
            ("a:", "tag is empty"),
            ("a:b c", "' '"),
            ("a@b", "digest"),
            ("a@sha256:1@sha256:2", "digest"),
            ("exa mple.com/a", "host is none"),
            ("a\u{1b}[2J", "\\u{1b}"),
            (long.as_str(), "too long"),
        ] {
            let error = parse_docker(text).unwrap_err();
            assert!(error.contains(why) && !error.contains('\u{1b}'), "{text}: {error}");
        }
    }
}
