//! Parts of what is known of a repository's manifests, as they are stored: each begins
//! with a digest.

use super::references::References;
use super::run::{PAGE, Run};
use bytes::Bytes;
use roadstead_oci::{Algorithm, Digest, RepositoryName};
use roadstead_storage::{Collection, Key, Pages, Storage, StorageError};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The first line of a part: other versions are made again.
const VERSION: &str = "references 2";

/// How many manifests one part is about, at most.
///
/// Limit: manifests in one list of references; test: `references_are_split`.
pub(super) const PART: usize = 4096;

/// How many bytes a part has before it is split.
///
/// Limit: bytes of a list of references before it is split; test: `references_are_split`.
const PART_BYTES: usize = 4 * 1024 * 1024;

/// What one manifest refers to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Known {
    pub(super) references: References,
    /// Its own size in bytes.
    pub(super) size: u64,
    /// Whether another registry wrote its link.
    pub(super) foreign: bool,
}

/// What the manifests of a repository from one digest up to the next part refer to.
#[derive(Debug, Default)]
pub(super) struct Part(pub(super) BTreeMap<Digest, Known>);

impl Part {
    /// Parses a stored part; `None` if it is damaged, or of another version.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut part = BTreeMap::new();
        let mut lines = std::str::from_utf8(text).ok()?.lines();
        lines.next().filter(|version| *version == VERSION)?;
        for line in lines {
            let mut words = line.split(' ');
            let digest = Digest::parse(words.next()?).ok()?;
            let foreign = words.next()? == "foreign";
            let size = words.next()?.parse().ok()?;
            let mut known = Known { foreign, size, references: References::default() };
            let count: usize = words.next()?.parse().ok()?;
            for word in words {
                let (kind, rest) = word.split_at_checked(1)?;
                let (digest, size) = match rest.split_once('/') {
                    Some((digest, size)) => (digest, Some(size.parse().ok()?)),
                    None => (rest, None),
                };
                let digest = Digest::parse(digest).ok()?;
                match kind {
                    "s" => {
                        known.references.subject = Some(digest);
                        continue;
                    }
                    "m" => drop(known.references.manifests.insert(digest.clone())),
                    _ => {}
                }
                known.references.content.insert(digest, size);
            }
            if known.references.content.len() != count {
                return None;
            }
            part.insert(digest, known);
        }
        Some(Self(part))
    }

    /// Prints a part, or some of it.
    pub(super) fn print<'a>(part: impl Iterator<Item = (&'a Digest, &'a Known)>) -> String {
        let mut text = format!("{VERSION}\n");
        for (digest, known) in part {
            let foreign = if known.foreign { "foreign" } else { "own" };
            // Writing to a String cannot fail.
            let References { content, manifests, subject } = &known.references;
            let _ = write!(text, "{digest} {foreign} {} {}", known.size, content.len());
            if let Some(subject) = subject {
                let _ = write!(text, " s{subject}");
            }
            for (digest, size) in content {
                let kind = if manifests.contains(digest) { "m" } else { "b" };
                let _ = write!(text, " {kind}{digest}");
                if let Some(size) = size {
                    let _ = write!(text, "/{size}");
                }
            }
            text.push('\n');
        }
        text
    }
}

impl<S: Storage> Run<'_, S> {
    /// Where the parts of a repository begin: the first before all digests.
    pub(super) async fn part_starts(
        &mut self,
        name: &RepositoryName,
    ) -> Result<Vec<Digest>, StorageError> {
        let first = Digest::from_bytes(Algorithm::Sha256, &[0; 32]);
        let first = first.ok_or_else(|| StorageError::Failed("no digest".to_owned()))?;
        let mut starts = vec![first];
        let collection = Collection::References(name.clone());
        let mut pages = Pages::new(&collection, None, PAGE);
        while let Some(entries) = self.next(&mut pages).await? {
            for entry in entries {
                if let Key::References(_, start) = entry.key
                    && starts.first() != Some(&start)
                {
                    starts.push(start);
                }
            }
        }
        Ok(starts)
    }

    /// What is known of a part, and whether it is stored.
    pub(super) async fn known(&mut self, key: &Key) -> Result<(Part, bool), StorageError> {
        let read = self.store.storage.read(key).await;
        self.spend(1, read.as_ref().map_or(0, |text| text.len() as u64));
        match read {
            Ok(text) => Ok((Part::parse(&text).unwrap_or_default(), true)),
            Err(StorageError::NotFound) => Ok((Part::default(), false)),
            Err(error) => Err(error),
        }
    }

    /// Stores a part, in several if it has become too large.
    pub(super) async fn write_known(
        &mut self,
        key: &Key,
        part: Part,
        exists: bool,
    ) -> Result<(), StorageError> {
        let Key::References(name, start) = key else { return Ok(()) };
        let all: Vec<(Digest, Known)> = part.0.into_iter().collect();
        if all.is_empty() {
            self.spent += 1;
            return if exists { self.store.storage.delete(key).await } else { Ok(()) };
        }
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let mut size = 0;
            let fits = rest.iter().take(PART).take_while(|(digest, known)| {
                size += Part::print(std::iter::once((digest, known))).len();
                size <= PART_BYTES
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            let start = match now.first() {
                Some((first, _)) if rest.len() < all.len() => first,
                _ => start,
            };
            rest = later;
            let key = Key::References(name.clone(), start.clone());
            let text = Part::print(now.iter().map(|(digest, known)| (digest, known)));
            self.spend(1, text.len() as u64);
            if text.len() > key.value_limit() {
                // Of a manifest that is too large to be remembered; it is read again.
                self.store.storage.delete(&key).await?;
                continue;
            }
            self.store.storage.write(&key, Bytes::from(text)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Known, Part, References};
    use roadstead_oci::Digest;

    #[test]
    fn parts_are_parsed_as_they_are_printed() {
        let [a, b, c] = ['a', 'b', 'c'].map(|digit| {
            Digest::parse(&format!("sha256:{}", digit.to_string().repeat(64))).unwrap()
        });
        let references = References {
            content: [(a.clone(), Some(7)), (b.clone(), None)].into(),
            manifests: [b.clone()].into(),
            subject: Some(c.clone()),
        };
        let known = Known { references, size: 9, foreign: true };
        let part = Part([(a, known), (c, Known::default())].into());
        let text = Part::print(part.0.iter());
        assert_eq!(Part::parse(text.as_bytes()).unwrap().0, part.0);
        // Another version, and every beginning of a part that is not all of its lines.
        assert!(Part::parse(text.replacen('2', "1", 1).as_bytes()).is_none());
        let first = text.lines().nth(1).unwrap().len();
        for length in 1..first {
            let cut = &text[..text.find('\n').unwrap() + 1 + length];
            assert!(Part::parse(cut.as_bytes()).is_none_or(|part| part.0.len() == 1), "{cut}");
        }
    }
}
