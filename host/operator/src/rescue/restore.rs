//! Bringing lost content back: blobs before the manifests that refer to them, and
//! manifests before the indexes that list them. Tags and lists of referrers are there
//! still, and lead to it again.

use super::lost::{Kind, Lost, Need, Place};
use super::source::{Found, Source};
use crate::push::{self, Begun};
use crate::registry::Registry;
use roadstead_oci::{Digest, Manifest, ManifestKind, MediaType, Reference, RepositoryName};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How deep indexes within indexes are followed.
///
/// Limit: depth of indexes that `rescue` follows; test: none, clients write one or two.
const DEPTH: usize = 8;

/// What became of a lost content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub(super) enum Outcome {
    /// The registry had it after all, and the repository now holds it.
    GivenBack,
    /// It was brought back.
    BroughtBack {
        /// The source.
        from: String,
    },
    /// It would be brought back.
    Available {
        /// The source.
        from: String,
    },
    /// No source has it.
    Nowhere {
        /// Why sources could not be asked, or did not have what they should.
        problems: Vec<String>,
    },
    /// The manifest was found, but not all that it refers to.
    Incomplete {
        /// The first content that was not found.
        missing: Digest,
    },
    /// It was found, and could not be brought back.
    Failed {
        /// Why.
        problems: Vec<String>,
    },
}

impl Outcome {
    /// Whether it is there now, or would be.
    pub(super) fn is_good(&self) -> bool {
        matches!(self, Self::GivenBack | Self::BroughtBack { .. } | Self::Available { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let because = |problems: &[String]| match problems {
            [] => String::new(),
            problems => format!(" ({})", problems.join("; ")),
        };
        match self {
            Self::GivenBack => f.write_str("given back: the registry still had it"),
            Self::BroughtBack { from } => write!(f, "brought back from {from}"),
            Self::Available { from } => write!(f, "can be brought back from {from}"),
            Self::Nowhere { problems } => write!(f, "found nowhere{}", because(problems)),
            Self::Incomplete { missing } => {
                write!(f, "found, but its part {missing} was not")
            }
            Self::Failed { problems } => {
                write!(f, "found, but not brought back{}", because(problems))
            }
        }
    }
}

/// A content, why it is needed, and what became of it.
pub(super) struct Item {
    pub(super) needs: BTreeSet<Need>,
    pub(super) outcome: Outcome,
}

/// Brings content back into one registry.
pub(super) struct Rescue<'a, R> {
    pub(super) registry: &'a R,
    pub(super) sources: &'a [Source],
    /// Nothing is written.
    pub(super) dry_run: bool,
    /// What was done so far.
    pub(super) items: BTreeMap<Place, Item>,
    /// Repositories that hold blobs which were brought back: others mount them.
    pub(super) holders: BTreeMap<Digest, RepositoryName>,
    /// Is told what became of each.
    pub(super) report: &'a mut dyn FnMut(&Place, &Item),
}

impl<R: Registry> Rescue<'_, R> {
    /// Brings back what can be: blobs first.
    pub(super) async fn all(&mut self, lost: &Lost) {
        for kind in [Kind::Blob, Kind::Manifest] {
            for (place, needs) in lost.contents.iter().filter(|((_, of, _), _)| *of == kind) {
                self.one(place, needs, DEPTH).await;
            }
        }
    }

    /// Brings one content back, unless that was tried before.
    async fn one(&mut self, place: &Place, needs: &BTreeSet<Need>, depth: usize) -> Outcome {
        if let Some(item) = self.items.get_mut(place) {
            item.needs.extend(needs.iter().cloned());
            return item.outcome.clone();
        }
        let outcome = match place.1 {
            Kind::Blob => self.blob(place).await,
            Kind::Manifest => Box::pin(self.manifest(place, depth)).await,
        };
        let outcome = outcome.unwrap_or_else(|problem| Outcome::Failed { problems: vec![problem] });
        let item = Item { needs: needs.clone(), outcome: outcome.clone() };
        (self.report)(place, &item);
        self.items.insert(place.clone(), item);
        outcome
    }

    async fn blob(&mut self, place: &Place) -> Result<Outcome, String> {
        let (digest, _, repository) = place;
        let path = format!("/v2/{repository}/blobs/{digest}");
        if !self.dry_run {
            push::touch(self.registry, &path).await?;
        }
        if push::has(self.registry, &path).await? {
            return Ok(Outcome::GivenBack);
        }
        let mut session = None;
        if !self.dry_run {
            let from = self.holders.get(digest);
            match push::begin(self.registry, repository, digest, from).await? {
                Begun::Held => return Ok(Outcome::GivenBack),
                Begun::Session(begun) => session = Some(begun),
            }
        }
        let outcome = self.fetch_blob(place, &mut session).await;
        if let Some(session) = session {
            push::cancel(self.registry, &session).await;
        }
        outcome
    }

    /// Brings a blob back from the first source whose bytes have its digest. Takes the
    /// session, if it is used.
    async fn fetch_blob(
        &mut self,
        (digest, _, repository): &Place,
        session: &mut Option<String>,
    ) -> Result<Outcome, String> {
        let (mut problems, mut found) = (Vec::new(), false);
        for source in self.sources {
            let blob = match source.blob(repository, digest).await {
                Ok(Some(blob)) => blob,
                Ok(None) => continue,
                Err(problem) => {
                    problems.push(format!("{}: {problem}", source.name()));
                    continue;
                }
            };
            let from = source.name().to_owned();
            if self.dry_run {
                return Ok(Outcome::Available { from });
            }
            found = true;
            let begun = match session.take() {
                Some(session) => Begun::Session(session),
                None => push::begin(self.registry, repository, digest, None).await?,
            };
            let Begun::Session(begun) = begun else { return Ok(Outcome::GivenBack) };
            let read = async |offset, length| source.read(&blob, offset, length).await;
            match push::upload(self.registry, begun, digest, blob.size, read).await {
                Ok(()) => {
                    self.holders.insert(digest.clone(), repository.clone());
                    return Ok(Outcome::BroughtBack { from });
                }
                Err(problem) => problems.push(format!("{from}: {problem}")),
            }
        }
        Ok(if found { Outcome::Failed { problems } } else { Outcome::Nowhere { problems } })
    }

    async fn manifest(&mut self, place: &Place, depth: usize) -> Result<Outcome, String> {
        let (digest, _, repository) = place;
        if push::has(self.registry, &format!("/v2/{repository}/manifests/{digest}")).await? {
            return Ok(Outcome::GivenBack);
        }
        let mut problems = Vec::new();
        let mut found = None;
        for source in self.sources {
            match source.manifest(repository, digest).await {
                Ok(Some(manifest)) => {
                    found = Some((source.name().to_owned(), manifest));
                    break;
                }
                Ok(None) => {}
                Err(problem) => problems.push(format!("{}: {problem}", source.name())),
            }
        }
        let Some((from, Found { bytes, media_type })) = found else {
            return Ok(Outcome::Nowhere { problems });
        };
        // A type that contradicts the manifest's own says nothing.
        let manifest = Manifest::parse_stored(&bytes, media_type.as_ref())
            .or_else(|_| Manifest::parse_stored(&bytes, None))
            .map_err(|error| format!("{from}: {error}"))?;
        let missing = self.parts(place, &manifest, &bytes, depth).await;
        if self.dry_run {
            return Ok(match missing {
                Some(missing) => Outcome::Incomplete { missing },
                None => Outcome::Available { from },
            });
        }
        let media_type: &MediaType = manifest.media_type();
        let reference = Reference::Digest(digest.clone());
        let pushed =
            push::manifest(self.registry, repository, &reference, media_type, bytes.clone()).await;
        Ok(match (pushed, missing) {
            // Where indexes may lack platforms, they come back without them.
            (Ok(()), _) => Outcome::BroughtBack { from },
            (Err(_), Some(missing)) => Outcome::Incomplete { missing },
            (Err(problem), None) => Outcome::Failed { problems: vec![problem] },
        })
    }

    /// Brings back what a manifest refers to, and returns the first that is missing.
    async fn parts(
        &mut self,
        place: &Place,
        manifest: &Manifest,
        bytes: &[u8],
        depth: usize,
    ) -> Option<Digest> {
        let (digest, _, repository) = place;
        let mut missing = None;
        let of = |target: &Digest, kind| (target.clone(), kind, repository.clone());
        let blobs = manifest.blobs().map(|target| (of(&target.digest, Kind::Blob), true));
        let children = manifest.children().map(|target| (of(&target.digest, Kind::Manifest), true));
        let others = match manifest.kind() {
            ManifestKind::Other => others(bytes),
            _ => BTreeSet::new(),
        };
        let others = others.iter().map(|target| (of(target, Kind::Blob), false));
        let parts: Vec<(Place, bool)> = blobs.chain(children).chain(others).collect();
        for (part, required) in parts {
            let need = match part.1 {
                Kind::Blob => Need::PartOf(digest.clone()),
                Kind::Manifest => Need::ListedIn(digest.clone()),
            };
            let good = if self.there(&part).await {
                true
            } else if depth == 0 || !required && !self.is_available(&part).await {
                false
            } else {
                self.one(&part, &BTreeSet::from([need]), depth - 1).await.is_good()
            };
            if !good && required && missing.is_none() {
                missing = Some(part.0);
            }
        }
        missing
    }

    /// Whether a source has what looks like a part of a manifest of an unknown kind.
    async fn is_available(&self, (digest, _, repository): &Place) -> bool {
        for source in self.sources {
            if source.blob(repository, digest).await.is_ok_and(|blob| blob.is_some()) {
                return true;
            }
        }
        false
    }

    /// Whether the repository has a part: most of them are not lost.
    async fn there(&self, (digest, kind, repository): &Place) -> bool {
        let of = match kind {
            Kind::Blob => "blobs",
            Kind::Manifest => "manifests",
        };
        let path = format!("/v2/{repository}/{of}/{digest}");
        // What cannot be asked is tried, and says why then.
        push::has(self.registry, &path).await.unwrap_or(false)
    }
}

/// The contents that a manifest of an unknown kind describes, but for its subject.
fn others(bytes: &[u8]) -> BTreeSet<Digest> {
    let mut found = BTreeSet::new();
    let Ok(Value::Object(mut root)) = serde_json::from_slice(bytes) else { return found };
    root.remove("subject");
    let mut open = vec![Value::Object(root)];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(object) => {
                let digest = object.get("digest").and_then(Value::as_str);
                found.extend(digest.and_then(|text| Digest::parse(text).ok()));
                open.extend(object.into_iter().map(|(_, value)| value));
            }
            Value::Array(values) => open.extend(values),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::others;

    #[test]
    fn contents_of_unknown_manifests_are_found() {
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let [a, b, c] = ["a", "b", "c"].map(digest);
        let text = format!(
            r#"{{"subject":{{"digest":"{a}"}},"blobs":[{{"digest":"{b}"}},{{"digest":"x"}},
            {{"within":{{"digest":"{c}"}}}}]}}"#
        );
        let found: Vec<String> = others(text.as_bytes()).iter().map(ToString::to_string).collect();
        assert_eq!(found, [b, c]);
        assert!(others(b"[]").is_empty() && others(b"{").is_empty());
    }
}
