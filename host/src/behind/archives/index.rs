//! What the archives hold, as it is looked up.

use roadstead_archive::Inventory;
use roadstead_oci::{Digest, MediaType, RepositoryName, Tag};
use roadstead_storage::{Collection, Key};
use std::collections::{BTreeMap, BTreeSet};

/// Repositories by name. All lists are in order, and searched by halves.
#[derive(Debug, Default)]
pub(super) struct Index(Vec<(RepositoryName, Repository)>);

/// What a repository holds.
#[derive(Debug, Default)]
pub(super) struct Repository {
    tags: Vec<(Tag, Digest)>,
    manifests: Vec<(Digest, MediaType)>,
    blobs: Vec<Digest>,
    /// Manifests that refer to another: that one first.
    referrers: Vec<(Digest, Digest)>,
}

impl Index {
    /// The index of an inventory. Referrers that are not `here` are left out.
    pub(super) fn new(inventory: Inventory, here: impl Fn(&Digest) -> bool) -> Self {
        let repositories = inventory.repositories.into_iter().map(|(name, repository)| {
            let blobs: BTreeSet<Digest> =
                repository.manifests.values().flat_map(|it| &it.blobs).cloned().collect();
            let referrers: BTreeSet<(Digest, Digest)> = repository
                .manifests
                .iter()
                .filter(|(digest, _)| here(digest))
                .filter_map(|(digest, it)| Some((it.subject.clone()?, digest.clone())))
                .collect();
            let manifests = repository.manifests.into_iter();
            let repository = Repository {
                tags: repository.tags.into_iter().collect(),
                manifests: manifests.map(|(digest, it)| (digest, it.media_type)).collect(),
                blobs: blobs.into_iter().collect(),
                referrers: referrers.into_iter().collect(),
            };
            (name, repository)
        });
        Self(repositories.collect())
    }

    /// All repositories, in order.
    pub(super) fn repositories(&self) -> &[(RepositoryName, Repository)] {
        &self.0
    }

    /// A repository.
    pub(super) fn repository(&self, name: &RepositoryName) -> Option<&Repository> {
        let found = self.0.binary_search_by(|(other, _)| other.cmp(name)).ok()?;
        self.0.get(found).map(|(_, repository)| repository)
    }

    /// The keys of a collection's objects, in no order, and perhaps some of them twice.
    pub(super) fn keys(&self, collection: &Collection) -> Vec<Key> {
        let held = |name| self.repository(name);
        let keys: Option<Vec<Key>> = match collection {
            Collection::Blobs => {
                let all: BTreeSet<&Digest> =
                    self.0.iter().flat_map(|(_, held)| held.contents()).collect();
                Some(all.into_iter().map(|digest| Key::Blob(digest.clone())).collect())
            }
            Collection::Layers(name) => held(name).map(|held| {
                held.blobs.iter().map(|digest| Key::Layer(name.clone(), digest.clone())).collect()
            }),
            Collection::Revisions(name) => held(name).map(|held| {
                let digests = held.manifests.iter().map(|(digest, _)| digest.clone());
                digests.map(|digest| Key::Revision(name.clone(), digest)).collect()
            }),
            Collection::Tags(name) => held(name).map(|held| {
                held.tags.iter().map(|(tag, _)| Key::Tag(name.clone(), tag.clone())).collect()
            }),
            Collection::Referrers(name) => {
                held(name).map(|held| {
                    let all = held.referrers.iter().cloned().map(|(subject, digest)| {
                        Key::Referrer { repository: name.clone(), subject, digest }
                    });
                    all.collect()
                })
            }
            Collection::Records
            | Collection::Quota(_)
            | Collection::Events
            | Collection::TagHistory(..)
            | Collection::TagHistories(_)
            | Collection::Deletions(_)
            | Collection::Moved(_)
            | Collection::MovedRevisions(_)
            | Collection::MovedTags(_)
            | Collection::Pulled(_)
            | Collection::References(_)
            | Collection::Sessions(_) => None,
        };
        keys.unwrap_or_default()
    }
}

impl Repository {
    /// The tags, and what they lead to.
    pub(super) fn tags(&self) -> &[(Tag, Digest)] {
        &self.tags
    }

    /// What a tag leads to.
    pub(super) fn tag(&self, tag: &Tag) -> Option<&Digest> {
        let found = self.tags.binary_search_by(|(other, _)| other.cmp(tag)).ok()?;
        self.tags.get(found).map(|(_, digest)| digest)
    }

    /// The media type of a manifest that it holds.
    pub(super) fn manifest(&self, digest: &Digest) -> Option<&MediaType> {
        let found = self.manifests.binary_search_by(|(other, _)| other.cmp(digest)).ok()?;
        self.manifests.get(found).map(|(_, media_type)| media_type)
    }

    /// Whether it holds a blob.
    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        self.blobs.binary_search(digest).is_ok()
    }

    /// Whether a manifest refers to another one.
    pub(super) fn refers(&self, subject: &Digest, digest: &Digest) -> bool {
        self.referrers(subject).binary_search_by(|(_, other)| other.cmp(digest)).is_ok()
    }

    /// The manifests that refer to one, each after that one.
    pub(super) fn referrers(&self, subject: &Digest) -> &[(Digest, Digest)] {
        let start = self.referrers.partition_point(|(other, _)| other < subject);
        let end = self.referrers.partition_point(|(other, _)| other <= subject);
        self.referrers.get(start..end).unwrap_or_default()
    }

    /// All that it holds.
    fn contents(&self) -> impl Iterator<Item = &Digest> {
        self.manifests.iter().map(|(digest, _)| digest).chain(&self.blobs)
    }
}

/// What an image needs and the archives do not have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Lacking {
    /// The first content.
    pub(super) first: Digest,
    /// How many contents.
    pub(super) count: usize,
    /// The volumes that they are in, as far as it is known.
    pub(super) volumes: BTreeSet<u32>,
}

/// The images that lack something. `missing` says whether a content does, and in which volumes
/// it is.
pub(super) fn lacking<'a>(
    inventory: &Inventory,
    missing: impl Fn(&Digest) -> Option<&'a BTreeSet<u32>>,
) -> BTreeMap<String, Lacking> {
    let mut lacking = BTreeMap::new();
    for (name, repository) in &inventory.repositories {
        let manifests = &repository.manifests;
        let tags = repository.tags.iter().map(|(tag, digest)| (format!("{name}:{tag}"), digest));
        let tagged: BTreeSet<&Digest> = repository.tags.values().collect();
        let children: BTreeSet<&Digest> = manifests.values().flat_map(|it| &it.children).collect();
        let untagged = manifests.keys();
        let untagged = untagged.filter(|it| !tagged.contains(it) && !children.contains(it));
        let images = tags.chain(untagged.map(|digest| (format!("{name}@{digest}"), digest)));
        for (image, root) in images {
            let (mut seen, mut left) = (BTreeSet::from([root]), vec![root]);
            while let Some(digest) = left.pop() {
                let below = manifests.get(digest).into_iter();
                let below = below.flat_map(|it| it.children.iter().chain(&it.blobs));
                left.extend(below.filter(|digest| seen.insert(digest)));
            }
            for digest in seen {
                let Some(volumes) = missing(digest) else { continue };
                let lacks = lacking.entry(image.clone()).or_insert_with(|| Lacking {
                    first: digest.clone(),
                    count: 0,
                    volumes: BTreeSet::new(),
                });
                lacks.count += 1;
                lacks.volumes.extend(volumes);
            }
        }
    }
    lacking
}
