//! Lists of images: YAML as `skopeo sync` reads it, or a line for each image.

use crate::select::{Repositories, Selection, What};
use regex_lite::Regex;
use roadstead_archive::is_registry;
use roadstead_oci::{RepositoryName, Tag};
use roadstead_operator::credentials::Credentials;
use roadstead_operator::files;
use roadstead_operator::gc::is_url;
use semver::VersionReq;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The largest list, in bytes.
///
/// Limit: bytes of a list of images; test: none, it comes from the operator.
const LIST: u64 = 16 * 1024 * 1024;

/// The images of one registry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The registry, as `Reach::open` takes it.
    pub(super) source: String,
    /// The images; all, if there is none.
    pub(super) images: Vec<Selection>,
    /// Who logs in there.
    pub(super) user: Option<Credentials>,
}

impl Entry {
    /// Images of a registry, a data directory or a configuration file.
    pub(super) fn new(source: &str, images: Vec<Selection>) -> Self {
        let is_path = Path::new(source).exists();
        let source = if is_path || is_url(source) {
            source.to_owned()
        } else {
            // As in an image's name.
            source.trim_end_matches('/').to_owned()
        };
        Self { source, images, user: None }
    }

    /// The registry, as names of images begin; none for a storage.
    pub(super) fn host(&self) -> Option<String> {
        if Path::new(&self.source).exists() {
            return None;
        }
        let host = self.source.split_once("://").map_or(&*self.source, |(_, host)| host);
        Some(host.trim_end_matches('/').to_owned())
    }

    /// Whether it is Docker Hub.
    pub(super) fn is_hub(&self) -> bool {
        let hub = ["docker.io", "index.docker.io", "registry-1.docker.io"];
        self.host().is_some_and(|host| hub.contains(&host.as_str()))
    }
}

/// A registry in a list of `skopeo sync`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Listed {
    #[serde(default)]
    images: BTreeMap<String, Option<Vec<String>>>,
    #[serde(default)]
    images_by_tag_regex: BTreeMap<String, String>,
    #[serde(default)]
    images_by_semver: BTreeMap<String, String>,
    credentials: Option<Login>,
    tls_verify: Option<bool>,
    cert_dir: Option<String>,
}

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

/// Reads a list.
///
/// # Errors
/// When it cannot be read, or something in it is wrong.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, String> {
    let failed = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let bytes = files::read(path, LIST).map_err(|error| failed(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| failed(&error))?;
    let is_yaml = path.extension().is_some_and(|it| it == "yml" || it == "yaml");
    let entries = if is_yaml { yaml(&text) } else { lines(&text) };
    entries.map_err(|problem| failed(&problem))
}

fn yaml(text: &str) -> Result<Vec<Entry>, String> {
    let list: BTreeMap<String, Listed> =
        serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
    list.into_iter().map(|(registry, listed)| entry(&registry, listed)).collect()
}

fn entry(registry: &str, listed: Listed) -> Result<Entry, String> {
    if listed.tls_verify == Some(false) && !registry.starts_with("http://") {
        return Err(format!(
            "{registry}: tls-verify: false: certificates are always verified; give --ca FILE, or \
             http://{registry} for plain HTTP"
        ));
    }
    if listed.cert_dir.is_some() {
        return Err(format!("{registry}: cert-dir is not supported; give --ca FILE"));
    }
    let mut images = Vec::new();
    let mut add = |name: &str, what: What| -> Result<(), String> {
        let name =
            RepositoryName::parse(name).map_err(|error| format!("{registry}/{name}: {error}"))?;
        images.push(Selection { repositories: Repositories::Named(name), what });
        Ok(())
    };
    for (name, tags) in &listed.images {
        let tags = tags.as_deref().unwrap_or_default();
        if tags.is_empty() {
            add(name, What::All)?;
        }
        for tag in tags {
            let wrong = |error: &dyn std::fmt::Display| format!("{registry}/{name}: {error}");
            let what = match roadstead_oci::Digest::parse(tag) {
                Ok(digest) => What::Digest(digest),
                Err(_) => What::Tag(Tag::parse(tag).map_err(|error| wrong(&error))?),
            };
            add(name, what)?;
        }
    }
    for (name, pattern) in &listed.images_by_tag_regex {
        let regex = Regex::new(pattern);
        let regex = regex.map_err(|error| format!("{registry}/{name}: {pattern}: {error}"))?;
        add(name, What::Expression(regex))?;
    }
    for (name, range) in &listed.images_by_semver {
        let versions = VersionReq::parse(range);
        let versions = versions.map_err(|error| format!("{registry}/{name}: {range}: {error}"))?;
        add(name, What::Versions(versions))?;
    }
    let user = listed.credentials.map(|login| Credentials::new(login.username, login.password));
    Ok(Entry { user, ..Entry::new(registry, images) })
}

/// A line for each image; `#` begins a comment.
fn lines(text: &str) -> Result<Vec<Entry>, String> {
    let mut registries: BTreeMap<String, Vec<Selection>> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let wrong = |problem: &dyn std::fmt::Display| format!("line {}: {problem}", number + 1);
        let (scheme, rest) = match line.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), line),
        };
        let (host, image) = match rest.split_once('/') {
            Some((host, image)) if !scheme.is_empty() || is_registry(host) => (host, image),
            // As Docker does.
            _ => ("docker.io", rest),
        };
        let selection = image.parse().map_err(|problem: String| wrong(&problem))?;
        registries.entry(format!("{scheme}{host}")).or_default().push(selection);
    }
    Ok(registries.into_iter().map(|(source, images)| Entry::new(&source, images)).collect())
}

#[cfg(test)]
mod tests {
    use super::{lines, yaml};

    #[test]
    fn lists_of_skopeo_are_read() {
        let list = "
docker.io:
  images:
    alpine: ['3.20', \"3.21\"]
    nginx: []
    busybox:
  images-by-tag-regex:
    redis: ^7\\.[0-9]+$
  images-by-semver:
    traefik: '>=3.0, <4'
  credentials: {username: alice, password: secret}
quay.io:
  images: {a/b: ['sha256:0000000000000000000000000000000000000000000000000000000000000000']}
";
        let entries = yaml(list).unwrap();
        let [hub, quay] = &entries[..] else { panic!("{entries:?}") };
        assert!(hub.is_hub() && hub.user.is_some() && !quay.is_hub());
        assert_eq!((hub.images.len(), quay.images.len()), (6, 1));
        for (name, tag, expected) in [
            ("alpine", "3.20", true),
            ("alpine", "3.22", false),
            ("nginx", "x", true),
            ("busybox", "x", true),
            ("redis", "7.4", true),
            ("redis", "7.4-alpine", false),
            ("traefik", "v3.1.2", true),
            ("traefik", "4.0.0", false),
            ("traefik", "latest", false),
        ] {
            let means =
                hub.images.iter().any(|it| it.repositories.mean(name) && it.what.means(tag));
            assert_eq!(means, expected, "{name}:{tag}");
        }
        for (list, said) in [
            ("a.example: {tls-verify: false, images: {a: []}}", "http://a.example"),
            ("a.example: {cert-dir: /x, images: {a: []}}", "--ca"),
            ("a.example: {images: {A: []}}", "A"),
            ("a.example: {images-by-tag-regex: {a: '['}}", "["),
            ("a.example: {images-by-semver: {a: '>>1'}}", ">>1"),
            ("a.example: {image: {a: []}}", "image"),
            ("- a", "invalid"),
        ] {
            let problem = yaml(list).unwrap_err();
            assert!(problem.contains(said), "{problem}");
        }
    }

    #[test]
    fn lists_of_lines_are_read() {
        let entries =
            lines("alpine:3\n\n# all\nquay.io/a/b # x\nhttp://c:5000/d/*\nteam/app:1\nhttp://e/f")
                .unwrap();
        let shown: Vec<_> =
            entries.iter().map(|it| (it.source.as_str(), it.images.len())).collect();
        assert_eq!(
            shown,
            [("docker.io", 2), ("http://c:5000", 1), ("http://e", 1), ("quay.io", 1)]
        );
        assert!(lines("a\nB").unwrap_err().starts_with("line 2"));
    }
}
