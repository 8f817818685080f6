//! What a registry has of some images: their manifests, all that these list, what refers to
//! them, and their blobs.

use crate::hash::digest_of;
use crate::requests::{self, Found};
use crate::select::{Repositories, Selection, What};
use crate::source::Source;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use roadstead_archive::{Content, Inventory, Manifest as Entry, Repository};
use roadstead_oci::{Digest, Manifest, Reference, RepositoryName, Tag};
use roadstead_operator::registry::Registry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

mod platform;

pub(crate) use platform::Platform;

/// What is wanted of each image.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Of indexes, only these platforms; all, if there is none.
    pub(crate) platforms: Vec<Platform>,
    /// Whether signatures and other referrers are.
    pub(crate) referrers: bool,
    /// How many requests are sent at a time.
    pub(crate) parallel: usize,
}

/// A tag, a manifest or a repository that could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unread {
    /// The image.
    pub(crate) image: String,
    /// Why.
    pub(crate) problem: String,
}

/// Walks through a registry.
pub(crate) struct Walk<'a, R> {
    pub(crate) registry: &'a R,
    pub(crate) source: &'a Source<'a, R>,
    pub(crate) wanted: &'a Wanted,
    pub(crate) inventory: Inventory,
    pub(crate) unread: Vec<Unread>,
}

/// What is to be fetched of a repository.
#[derive(Default)]
struct Work {
    queue: VecDeque<(Reference, Why)>,
    seen: BTreeSet<Digest>,
}

/// Why a manifest is fetched.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Why {
    /// It is what a tag leads to.
    Tag(Tag),
    /// It was named by its digest, or refers to another.
    Named,
    /// An index lists it.
    Listed,
}

impl Work {
    fn add(&mut self, digest: Digest, why: Why) {
        if self.seen.insert(digest.clone()) {
            self.queue.push_back((Reference::Digest(digest), why));
        }
    }
}

impl<R: Registry> Walk<'_, R> {
    /// Adds these images.
    ///
    /// # Errors
    /// When lists cannot be read. What a single image lacks is in `unread`.
    pub(crate) async fn add(&mut self, selections: &[Selection]) -> Result<(), String> {
        let mut chosen: BTreeMap<RepositoryName, Vec<&What>> = BTreeMap::new();
        let is_pattern = |it: &&Selection| matches!(it.repositories, Repositories::Matching(_));
        let catalog = if selections.iter().any(|it| is_pattern(&it)) {
            requests::repositories(self.registry).await?
        } else {
            Vec::new()
        };
        for selection in selections {
            match &selection.repositories {
                Repositories::Named(name) => {
                    chosen.entry(name.clone()).or_default().push(&selection.what);
                }
                all @ Repositories::Matching(_) => {
                    for name in catalog.iter().filter(|name| all.mean(name)) {
                        let name = RepositoryName::parse(name);
                        let name = name.map_err(|error| format!("the catalog: {error}"))?;
                        chosen.entry(name).or_default().push(&selection.what);
                    }
                }
            }
        }
        for (name, whats) in chosen {
            self.repository(&name, &whats).await;
        }
        Ok(())
    }

    async fn repository(&mut self, name: &RepositoryName, whats: &[&What]) {
        let mut work = Work::default();
        let listed = whats.iter().any(|what| what.needs_list());
        let tags = if listed || self.wanted.referrers {
            match requests::tags(self.registry, name).await {
                Ok(tags) => tags,
                Err(problem) => {
                    self.not_read(name.as_str(), &problem);
                    return;
                }
            }
        } else {
            None
        };
        if tags.is_none() && listed {
            self.not_read(name.as_str(), "there is no such repository");
        }
        let tags = tags.unwrap_or_default();
        let mut chosen: BTreeSet<Tag> = BTreeSet::new();
        for what in whats {
            match what {
                What::Tag(tag) => drop(chosen.insert(tag.clone())),
                What::Digest(digest) => work.add(digest.clone(), Why::Named),
                _ => {
                    let matching = tags.iter().filter(|tag| what.means(tag));
                    chosen.extend(matching.filter_map(|tag| Tag::parse(tag).ok()));
                }
            }
        }
        let by_tag = |tag: &Tag| (Reference::Tag(tag.clone()), Why::Tag(tag.clone()));
        work.queue.extend(chosen.iter().map(by_tag));
        let others: BTreeSet<&str> = tags
            .iter()
            .map(String::as_str)
            .filter(|tag| is_digest_tag(tag) && !chosen.iter().any(|it| it.as_str() == *tag))
            .collect();
        let repository = self.fetch(name, work, others).await;
        if !repository.manifests.is_empty() {
            let all = self.inventory.repositories.entry(name.clone()).or_default();
            all.tags.extend(repository.tags);
            all.manifests.extend(repository.manifests);
        }
    }

    /// Fetches manifests, and all that they lead to. `others` are tags that may be signatures.
    async fn fetch(
        &mut self,
        name: &RepositoryName,
        mut work: Work,
        mut others: BTreeSet<&str>,
    ) -> Repository {
        let mut repository = Repository::default();
        let (registry, referrers) = (self.registry, self.wanted.referrers);
        let one = async |reference: Reference, why: Why| {
            let found = requests::manifest(registry, name, &reference).await;
            let known = match &found {
                Ok(Some(found)) if referrers => {
                    requests::referrers(registry, name, &found.digest).await
                }
                _ => Ok(None),
            };
            (reference, why, found, known)
        };
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < self.wanted.parallel
                && let Some((reference, why)) = work.queue.pop_front()
            {
                running.push(one(reference, why));
            }
            let Some((reference, why, found, known)) = running.next().await else {
                break;
            };
            let image = match &reference {
                Reference::Tag(tag) => format!("{name}:{tag}"),
                Reference::Digest(digest) => format!("{name}@{digest}"),
            };
            let found = match found {
                Ok(Some(found)) => found,
                // Indexes may list platforms that were never pushed.
                Ok(None) if why == Why::Listed => continue,
                Ok(None) => {
                    self.not_read(&image, "it is not there");
                    continue;
                }
                Err(problem) => {
                    self.not_read(&image, &problem);
                    continue;
                }
            };
            let original = found.digest.clone();
            let found = match self.chosen(&mut work, &why, found) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err(problem) => {
                    self.not_read(&image, &problem);
                    continue;
                }
            };
            match known {
                // Of another index, these are no referrers.
                Ok(_) if found.digest != original => {}
                Ok(known) => {
                    known.into_iter().flatten().for_each(|digest| work.add(digest, Why::Named));
                }
                Err(problem) => self.not_read(&image, &format!("its referrers: {problem}")),
            }
            if referrers {
                let prefix = digest_tag_prefix(&found.digest);
                let signatures: Vec<_> =
                    others.iter().copied().filter(|tag| tag.starts_with(&prefix)).collect();
                for tag in signatures {
                    others.remove(tag);
                    if let Ok(tag) = Tag::parse(tag) {
                        work.queue.push_back((Reference::Tag(tag.clone()), Why::Tag(tag)));
                    }
                }
            }
            if let Err(problem) = self.take(&mut repository, &mut work, why, found) {
                self.not_read(&image, &problem);
            }
        }
        let held: BTreeSet<Digest> = repository.manifests.keys().cloned().collect();
        for manifest in repository.manifests.values_mut() {
            manifest.children.retain(|child| held.contains(child));
        }
        repository
    }

    /// What is wanted of an index: itself, one without some of its platforms, or none if the only
    /// platform that is wanted takes its place.
    fn chosen(&self, work: &mut Work, why: &Why, found: Found) -> Result<Option<Found>, String> {
        let manifest = parse(&found)?;
        // Lists of referrers, and referrers, have no platforms.
        let is_list = matches!(why, Why::Tag(tag) if is_digest_tag(tag.as_str()));
        if self.wanted.platforms.is_empty()
            || !manifest.media_type().is_index()
            || manifest.subject().is_some()
            || *why == Why::Listed
            || is_list
        {
            return Ok(Some(found));
        }
        match platform::choose(&found.bytes, &self.wanted.platforms)? {
            platform::Chosen::All => Ok(Some(found)),
            platform::Chosen::One(digest) => {
                work.queue.push_front((Reference::Digest(digest), why.clone()));
                Ok(None)
            }
            platform::Chosen::Some(bytes) => {
                let digest = digest_of(found.digest.algorithm(), &bytes)?;
                self.source.add(digest.clone(), bytes.clone().into());
                Ok(Some(Found { digest, bytes: bytes.into(), ..found }))
            }
        }
    }

    /// Adds a manifest, and what it lists to the work.
    fn take(
        &mut self,
        repository: &mut Repository,
        work: &mut Work,
        why: Why,
        found: Found,
    ) -> Result<(), String> {
        let manifest = parse(&found)?;
        self.source.keep(&found.digest, &found.bytes);
        work.seen.insert(found.digest.clone());
        if let Why::Tag(tag) = why {
            repository.tags.insert(tag, found.digest.clone());
        }
        let contents = &mut self.inventory.contents;
        let mut hold = |digest: &Digest, size| {
            contents.entry(digest.clone()).or_insert(Content { size, pieces: Vec::new() });
        };
        hold(&found.digest, found.bytes.len() as u64);
        manifest.blobs().for_each(|blob| hold(&blob.digest, blob.size));
        for child in manifest.children() {
            work.add(child.digest.clone(), Why::Listed);
        }
        repository.manifests.insert(found.digest, entry(&manifest));
        Ok(())
    }

    fn not_read(&mut self, image: &str, problem: &str) {
        self.unread.push(Unread { image: image.to_owned(), problem: problem.to_owned() });
    }
}

fn parse(found: &Found) -> Result<Manifest, String> {
    Manifest::parse_stored(&found.bytes, found.media_type.as_ref())
        // A type that contradicts the manifest's own says nothing.
        .or_else(|_| Manifest::parse_stored(&found.bytes, None))
        .map_err(|error| error.to_string())
}

/// What an inventory says of a manifest.
fn entry(manifest: &Manifest) -> Entry {
    Entry {
        media_type: manifest.media_type().clone(),
        artifact_type: manifest.effective_artifact_type().cloned(),
        subject: manifest.subject().map(|subject| subject.digest.clone()),
        children: manifest.children().map(|child| child.digest.clone()).collect(),
        blobs: manifest.blobs().map(|blob| blob.digest.clone()).collect(),
    }
}

/// What tags begin with that stand for what refers to a manifest: cosign's `sha256-….sig`, and
/// the list of referrers where a registry has none (distribution-spec, "Referrers Tag Schema").
fn digest_tag_prefix(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm(), digest.encoded())
}

/// Whether a tag may be one of those.
fn is_digest_tag(tag: &str) -> bool {
    ["sha256-", "sha512-"].iter().any(|prefix| tag.starts_with(prefix))
}
