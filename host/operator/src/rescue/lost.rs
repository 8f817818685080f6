//! What is lost, by its digest: which repositories need it, and why.

use roadstead_bridge::scrub::{Finding, Kind as Found};
use roadstead_oci::{Digest, RepositoryName};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The most lost contents that are kept.
///
/// Limit: lost contents that `rescue` works on at a time; test: none, it takes as many findings.
const MOST: usize = 500_000;

/// What kind of content is lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// A config, a layer or another blob.
    Blob,
    /// A manifest: of an image, an index or an artifact.
    Manifest,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blob => "blob",
            Self::Manifest => "manifest",
        })
    }
}

/// Why a repository needs it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Need {
    /// A tag leads to it.
    Tag(String),
    /// The repository holds this manifest, whose bytes are gone.
    Held,
    /// This manifest refers to it.
    PartOf(Digest),
    /// This index lists it.
    ListedIn(Digest),
    /// It is listed as a referrer.
    Referrer,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Held => f.write_str("pushed by digest"),
            Self::PartOf(manifest) => write!(f, "part of {}", short(manifest)),
            Self::ListedIn(index) => write!(f, "a platform of {}", short(index)),
            Self::Referrer => f.write_str("a signature, SBOM or other referrer"),
        }
    }
}

/// The beginning of a digest: enough to find it in the report.
fn short(digest: &Digest) -> &str {
    digest.as_str().get(..19).unwrap_or_default()
}

/// One content that one repository has lost.
pub(super) type Place = (Digest, Kind, RepositoryName);

/// All that is lost.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Contents that have a digest, and can be looked for.
    pub(super) contents: BTreeMap<Place, BTreeSet<Need>>,
    /// What is damaged in another way, in words.
    pub(super) damaged: Vec<String>,
    /// Whether there is more than is kept.
    pub(super) more: bool,
}

impl Lost {
    /// Takes a finding.
    pub(super) fn add(&mut self, finding: &Finding) {
        if self.contents.len() + self.damaged.len() >= MOST {
            self.more = true;
            return;
        }
        match content(finding) {
            Some((place, need)) => drop(self.contents.entry(place).or_default().insert(need)),
            None => self.damaged.extend(damage(finding)),
        }
    }
}

/// The content that a finding is about, if it can be looked for.
fn content(finding: &Finding) -> Option<(Place, Need)> {
    let digest = Digest::parse(finding.digest.as_deref()?).ok()?;
    let repository = RepositoryName::parse(finding.repository.as_deref()?).ok()?;
    let manifest = || Digest::parse(finding.manifest.as_deref().unwrap_or_default()).ok();
    let (kind, need) = match finding.kind {
        Found::ManifestMissing => (Kind::Manifest, Need::Held),
        Found::TagDangling => (Kind::Manifest, Need::Tag(finding.tag.clone()?)),
        Found::ChildMissing => (Kind::Manifest, Need::ListedIn(manifest()?)),
        Found::ReferrerDangling => (Kind::Manifest, Need::Referrer),
        Found::ContentMissing => (Kind::Blob, Need::PartOf(manifest()?)),
        _ => return None,
    };
    Some(((digest, kind, repository), need))
}

/// What else is wrong, and what to do.
fn damage(finding: &Finding) -> Option<String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (digest, repository) = (text(&finding.digest), text(&finding.repository));
    Some(match finding.kind {
        Found::TagDamaged => format!(
            "{repository}: the tag {} is damaged; push it again, or delete it",
            text(&finding.tag)
        ),
        Found::LinkDamaged => {
            format!("{repository}: the link to {digest} is damaged; push it again")
        }
        Found::Corrupt => format!(
            "the data of {digest} is damaged; roadstead scrub --quarantine moves it away, and \
             roadstead rescue then brings it back"
        ),
        Found::Unreadable => {
            format!("the data of {digest} cannot be read: {}", text(&finding.cause))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Kind, Lost, Need};
    use roadstead_bridge::scrub::{Finding, Kind as Found};
    use roadstead_oci::{Digest, RepositoryName};
    use std::collections::BTreeSet;

    fn digest(number: u8) -> Digest {
        Digest::parse(&format!("sha256:{}", format!("{number:02x}").repeat(32))).unwrap()
    }

    #[test]
    fn findings_are_grouped_by_digest() {
        let found = |kind, number, manifest| Finding {
            digest: Some(digest(number).to_string()),
            repository: Some("a".to_owned()),
            tag: Some("v1".to_owned()),
            manifest: Some(digest(manifest).to_string()),
            ..Finding::new(kind)
        };
        let mut lost = Lost::default();
        for finding in [
            found(Found::ContentMissing, 1, 9),
            found(Found::ContentMissing, 1, 8),
            found(Found::TagDangling, 2, 9),
            found(Found::ManifestMissing, 2, 9),
            found(Found::ReferrerDangling, 2, 9),
            found(Found::ChildMissing, 3, 9),
            // Not lost.
            found(Found::WrongSize, 4, 9),
            found(Found::TagDamaged, 4, 9),
            found(Found::Corrupt, 4, 9),
            // From a registry elsewhere.
            Finding { digest: Some("x".to_owned()), ..found(Found::ContentMissing, 1, 9) },
            Finding { repository: Some("../x".to_owned()), ..found(Found::ContentMissing, 1, 9) },
        ] {
            lost.add(&finding);
        }
        let name = RepositoryName::parse("a").unwrap();
        let contents: Vec<_> = lost.contents.into_iter().collect();
        let expected = [
            (1, Kind::Blob, vec![Need::PartOf(digest(8)), Need::PartOf(digest(9))]),
            (2, Kind::Manifest, vec![Need::Tag("v1".to_owned()), Need::Held, Need::Referrer]),
            (3, Kind::Manifest, vec![Need::ListedIn(digest(9))]),
        ];
        let expected = expected.map(|(number, kind, needs)| {
            ((digest(number), kind, name.clone()), needs.into_iter().collect::<BTreeSet<_>>())
        });
        assert_eq!(contents, expected);
        assert_eq!(lost.damaged.len(), 2, "{:?}", lost.damaged);
        assert!(!lost.more);
    }
}
