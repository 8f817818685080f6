//! Which images are meant: `team/app:1.2`, `team/app@sha256:…`, `team/app`, `team/*:v1.*`.

use glob::{MatchOptions, Pattern};
use regex_lite::Regex;
use roadstead_oci::{Digest, RepositoryName, Tag};
use semver::{Version, VersionReq};
use std::str::FromStr;

/// `*` stays within a part of a name; `**` does not.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// What is read of a registry.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Choice {
    /// A registry's URL, a data directory or a configuration file
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    /// Images, such as alpine:3, team/app or 'team/*:v1.*' [default: everything]
    #[arg(value_name = "IMAGE")]
    images: Vec<Selection>,
}

impl Choice {
    /// The images.
    pub(crate) fn selections(&self) -> Vec<Selection> {
        or_everything(self.images.clone())
    }
}

/// These images; all, if there is none.
pub(crate) fn or_everything(images: Vec<Selection>) -> Vec<Selection> {
    if images.is_empty() { vec![Selection::everything()] } else { images }
}

/// Images as somebody names them.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) repositories: Repositories,
    pub(crate) what: What,
}

/// Repositories.
#[derive(Clone, Debug)]
pub(crate) enum Repositories {
    /// One.
    Named(RepositoryName),
    /// Those whose names match.
    Matching(Pattern),
}

/// What of a repository.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// All tags.
    All,
    /// The tags that match.
    Matching(Pattern),
    /// The tags that a regular expression matches.
    Expression(Regex),
    /// The tags that are versions of this range.
    Versions(VersionReq),
    /// One tag.
    Tag(Tag),
    /// A manifest.
    Digest(Digest),
}

impl Selection {
    /// Everything.
    pub(crate) fn everything() -> Self {
        let pattern = Pattern::new("**").unwrap_or_default();
        Self { repositories: Repositories::Matching(pattern), what: What::All }
    }
}

impl Repositories {
    /// Whether a repository is meant.
    pub(crate) fn mean(&self, name: &str) -> bool {
        match self {
            Self::Named(known) => known.as_str() == name,
            Self::Matching(pattern) => pattern.matches_with(name, OPTIONS),
        }
    }
}

impl What {
    /// Whether a tag is meant.
    pub(crate) fn means(&self, tag: &str) -> bool {
        match self {
            Self::All => true,
            Self::Matching(pattern) => pattern.matches_with(tag, OPTIONS),
            Self::Expression(regex) => regex.is_match(tag),
            Self::Versions(range) => {
                let version = Version::parse(tag.strip_prefix('v').unwrap_or(tag));
                version.is_ok_and(|version| range.matches(&version))
            }
            Self::Tag(known) => known.as_str() == tag,
            Self::Digest(_) => false,
        }
    }

    /// Whether the tags have to be listed to know which are meant.
    pub(crate) fn needs_list(&self) -> bool {
        !matches!(self, Self::Tag(_) | Self::Digest(_))
    }
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let failed = |problem: &dyn std::fmt::Display| format!("{text}: {problem}");
        let is_pattern = |text: &str| text.contains(['*', '?', '[']);
        let pattern = |part: &str| Pattern::new(part).map_err(|error| failed(&error));
        let (name, what) = if let Some((name, digest)) = text.split_once('@') {
            (name, What::Digest(Digest::parse(digest).map_err(|error| failed(&error))?))
        } else if let Some((name, tag)) = text.rsplit_once(':') {
            let what = if is_pattern(tag) {
                What::Matching(pattern(tag)?)
            } else {
                What::Tag(Tag::parse(tag).map_err(|error| failed(&error))?)
            };
            (name, what)
        } else {
            (text, What::All)
        };
        let repositories = if is_pattern(name) {
            Repositories::Matching(pattern(name)?)
        } else {
            Repositories::Named(RepositoryName::parse(name).map_err(|error| failed(&error))?)
        };
        Ok(Self { repositories, what })
    }
}

#[cfg(test)]
mod tests {
    use super::Selection;

    #[test]
    fn images_are_named_or_match() {
        for (text, name, tag, expected) in [
            ("team/app", "team/app", "1", true),
            ("team/app", "team/app/x", "1", false),
            ("team/app:1", "team/app", "1", true),
            ("team/app:1", "team/app", "2", false),
            ("team/*", "team/app", "1", true),
            ("team/*", "team/app/x", "1", false),
            ("team/**", "team/app/x", "1", true),
            ("**", "a", "1", true),
            ("*:v1.*", "a", "v1.2", true),
            ("*:v1.*", "a", "v2.1", false),
        ] {
            let selection: Selection = text.parse().unwrap();
            let means = selection.repositories.mean(name) && selection.what.means(tag);
            assert_eq!(means, expected, "{text} {name}:{tag}");
        }
        for text in ["", "A", "a:", "a:b/c", "a@sha256:1", "a***:1", "a:[", "a b"] {
            assert!(text.parse::<Selection>().is_err(), "{text}");
        }
        let everything = Selection::everything();
        assert!(everything.repositories.mean("a/b/c") && everything.what.means("x"));
    }
}
