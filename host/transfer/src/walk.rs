//! What a registry has of some images: their manifests, all that these list, what refers to
//! them, and their blobs.

use crate::DEPTH;
use crate::needs;
use crate::select::{Repositories, Selection, What};
use crate::source::Source;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use roadstead_archive::{Content, Inventory, Manifest as Entry, Repository};
use roadstead_oci::{Descriptor, Digest, Manifest, Reference, RepositoryName, Tag, Target};
use roadstead_operator::hash::digest_of;
use roadstead_operator::pull::{self, Found};
use roadstead_operator::registry::Registry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

mod platform;

pub(crate) use platform::{Platform, image_of, of_this_machine};

/// The most manifests of an inventory.
///
/// Limit: manifests of an export or a mirror; test: none, it would take as many.
const MANIFESTS: usize = 1_000_000;

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
    /// What indexes list and the registry does not have, as `name@digest`: platforms that were never
    /// pushed.
    pub(crate) absent: Vec<String>,
    /// How many manifests there are so far.
    manifests: usize,
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
    /// An index lists it, which is so deep within others.
    Listed(usize),
}

impl Work {
    /// Adds the tags among `others` that stand for what refers to a manifest.
    fn add_signatures(&mut self, digest: &Digest, others: &mut BTreeSet<&str>) {
        let prefix = digest_tag_prefix(digest);
        others.retain(|tag| {
            let refers = tag.starts_with(&prefix);
            if let Some(tag) = Tag::parse(tag).ok().filter(|_| refers) {
                self.queue.push_back((Reference::Tag(tag.clone()), Why::Tag(tag)));
            }
            !refers
        });
    }

    fn add(&mut self, digest: Digest, why: Why) {
        if self.seen.insert(digest.clone()) {
            self.queue.push_back((Reference::Digest(digest), why));
        }
    }
}

impl<'a, R: Registry> Walk<'a, R> {
    pub(crate) fn new(registry: &'a R, source: &'a Source<'a, R>, wanted: &'a Wanted) -> Self {
        let (unread, absent) = (Vec::new(), Vec::new());
        let inventory = Inventory::default();
        Self { registry, source, wanted, inventory, unread, absent, manifests: 0 }
    }

    /// Adds these images.
    ///
    /// # Errors
    /// When lists cannot be read. What a single image lacks is in `unread`.
    pub(crate) async fn add(&mut self, selections: &[Selection]) -> Result<(), String> {
        let mut chosen: BTreeMap<RepositoryName, Vec<&What>> = BTreeMap::new();
        let is_pattern = |it: &&Selection| matches!(it.repositories, Repositories::Matching(_));
        let catalog = if selections.iter().any(|it| is_pattern(&it)) {
            pull::repositories(self.registry).await?.unwrap_or_default()
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
                        match RepositoryName::parse(name) {
                            Ok(name) => chosen.entry(name).or_default().push(&selection.what),
                            Err(error) => self.not_read(name, &error.to_string()),
                        }
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
            match pull::tags(self.registry, name).await {
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
            .filter(|tag| {
                is_digest_tag(tag) && !Tag::parse(tag).is_ok_and(|tag| chosen.contains(&tag))
            })
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
            let found = pull::manifest(registry, name, &reference).await;
            let known = match &found {
                Ok(Some(found)) if referrers => {
                    pull::referrers(registry, name, &found.digest).await
                }
                _ => Ok(None),
            };
            (reference, why, found, known)
        };
        let mut failed = BTreeSet::new();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < self.wanted.parallel
                && let Some((reference, why)) = work.queue.pop_front()
            {
                running.push(one(reference, why));
            }
            let Some((reference, why, found, known)) = running.next().await else { break };
            let added = match (found, known) {
                (Ok(Some(found)), Ok(known)) => {
                    self.add_found(&mut repository, &mut work, why, found, known)
                }
                // Indexes may list platforms that were never pushed.
                (Ok(None), _) if matches!(why, Why::Listed(_)) => {
                    self.absent.push(format!("{name}@{}", reference.as_str()));
                    continue;
                }
                (Ok(None), _) => Err("it is not there".to_owned()),
                (Err(problem), _) => Err(problem),
                (_, Err(problem)) => Err(format!("its referrers: {problem}")),
            };
            match added {
                Ok(Some(digest)) if referrers => work.add_signatures(&digest, &mut others),
                Ok(_) => {}
                Err(problem) => {
                    let image = match &reference {
                        Reference::Tag(tag) => format!("{name}:{tag}"),
                        Reference::Digest(digest) => format!("{name}@{digest}"),
                    };
                    self.not_read(&image, &problem);
                    if let Reference::Digest(digest) = reference {
                        failed.insert(digest);
                    }
                }
            }
        }
        // They would be there without a part, and nobody would see that.
        for image in needs::remove(&mut repository, failed) {
            self.not_read(&format!("{name}{image}"), "a part of it could not be read");
        }
        let held: BTreeSet<Digest> = repository.manifests.keys().cloned().collect();
        for manifest in repository.manifests.values_mut() {
            manifest.children.retain(|child| held.contains(child));
        }
        repository
    }

    /// Adds a manifest and its referrers, and says which one it was, unless another takes its
    /// place.
    fn add_found(
        &mut self,
        repository: &mut Repository,
        work: &mut Work,
        why: Why,
        found: Found,
        referrers: Option<Vec<Descriptor>>,
    ) -> Result<Option<Digest>, String> {
        let original = found.digest.clone();
        let Some(found) = self.chosen(work, &why, found)? else { return Ok(None) };
        let digest = found.digest.clone();
        // Of an index that was made of it, they are no referrers.
        if digest == original {
            referrers.into_iter().flatten().for_each(|it| work.add(it.digest, Why::Named));
        }
        self.take(repository, work, why, found)?;
        Ok(Some(digest))
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
            || matches!(why, Why::Listed(_))
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
        if self.manifests == MANIFESTS {
            return Err(format!("there are more than {MANIFESTS} manifests; choose some images"));
        }
        self.manifests += 1;
        self.source.keep(&found.digest, &found.bytes);
        work.seen.insert(found.digest.clone());
        let depth = match why {
            Why::Tag(tag) => {
                repository.tags.insert(tag, found.digest.clone());
                0
            }
            Why::Named => 0,
            Why::Listed(depth) if depth < DEPTH => depth,
            Why::Listed(_) => return Err(format!("indexes are nested deeper than {DEPTH}")),
        };
        let contents = &mut self.inventory.contents;
        let mut hold = |digest: &Digest, size| {
            contents.entry(digest.clone()).or_insert(Content { size, pieces: Vec::new() });
        };
        hold(&found.digest, found.bytes.len() as u64);
        let (children, blobs) = parts(&manifest);
        for blob in &blobs {
            hold(&blob.digest, blob.size);
        }
        for child in children {
            work.add(child.digest.clone(), Why::Listed(depth + 1));
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
    let (children, blobs) = parts(manifest);
    Entry {
        media_type: manifest.media_type().clone(),
        artifact_type: manifest.effective_artifact_type().cloned(),
        subject: manifest.subject().map(|subject| subject.digest.clone()),
        children: children.iter().map(|child| child.digest.clone()).collect(),
        blobs: blobs.iter().map(|blob| blob.digest.clone()).collect(),
    }
}

/// The manifests that a manifest lists, and the blobs. What an index lists that is not JSON is a
/// blob: caches of builds are such indexes.
fn parts(manifest: &Manifest) -> (Vec<&Target>, Vec<&Target>) {
    let (children, others): (Vec<_>, Vec<_>) =
        manifest.children().partition(|child| child.media_type.is_json());
    (children, manifest.blobs().chain(others).collect())
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
