//! All that the page shows of a manifest.

use super::config::{ConfigView, Stored};
use super::manifest::{Kind, Part, Shown};
use super::text::TextMap;
use super::{Budget, CONFIG, Can, LOOKS, Look, VERSION, shown_time};
use crate::store::Store;
use roadstead_oci::{Descriptor, Digest, Reference, RepositoryName};
use roadstead_storage::{Collection, Key, Storage, StorageError};
use serde::Serialize;
use std::collections::BTreeMap;

/// How many tags of the manifest are named.
///
/// Limit: tags of a manifest that the page names; test: `ten_thousand_tags`.
const TAGS: usize = 1000;

/// How many referrers are listed.
///
/// Limit: referrers of a manifest in an answer to the page; test: `referrers_of_an_image`.
const REFERRERS: usize = 100;

/// How many bytes of annotations there are of children, and as many of layers and of referrers:
/// those of further ones are left out.
///
/// Limit: bytes of the annotations of what a manifest lists in an answer to the page; test:
/// `annotations_of_very_many_children`.
const ANNOTATIONS: usize = 512 * 1024;

/// The answer.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "they are fields of JSON")]
pub(crate) struct ImageView {
    version: u32,
    name: String,
    reference: String,
    digest: String,
    media_type: Option<String>,
    artifact_type: Option<String>,
    size: Option<u64>,
    pushed: Option<String>,
    kind: Kind,
    tags: Vec<String>,
    /// Whether these are all.
    tags_complete: bool,
    immutable: bool,
    can: Can,
    annotations: BTreeMap<String, String>,
    subject: Option<PartView>,
    /// The manifest itself.
    manifest: String,
    children: Vec<ChildView>,
    image: Option<ContentView>,
    referrers: Vec<ReferrerView>,
    referrers_complete: bool,
    /// Whether everything was looked at, and nothing was left out because of its length.
    complete: bool,
}

#[derive(Debug, Serialize)]
struct PartView {
    digest: String,
    media_type: Option<String>,
    size: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ChildView {
    #[serde(flatten)]
    part: PartView,
    total: Option<u64>,
    platform: Option<String>,
    artifact_type: Option<String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct ReferrerView {
    #[serde(flatten)]
    part: PartView,
    artifact_type: Option<String>,
    annotations: BTreeMap<String, String>,
}

/// Config and layers of a manifest that has them.
#[derive(Debug, Serialize)]
struct ContentView {
    digest: String,
    config: Option<PartView>,
    layers: Vec<LayerView>,
    #[serde(flatten)]
    said: ConfigView,
    /// Whether the config could be read, and nothing was left out because of its length.
    complete: bool,
}

#[derive(Debug, Serialize)]
struct LayerView {
    #[serde(flatten)]
    part: PartView,
    created_by: Option<String>,
    annotations: BTreeMap<String, String>,
}

/// Room for annotations.
struct Room {
    left: usize,
    was_enough: bool,
}

impl Room {
    fn new() -> Self {
        Self { left: ANNOTATIONS, was_enough: true }
    }

    /// The annotations, if there is room for them.
    fn take(&mut self, annotations: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let length = |(name, value): (&String, &String)| name.len() + value.len();
        let bytes: usize = annotations.iter().map(length).sum();
        if bytes > self.left {
            self.was_enough = false;
            return BTreeMap::new();
        }
        self.left -= bytes;
        annotations
    }

    fn take_map(&mut self, map: &TextMap) -> BTreeMap<String, String> {
        self.was_enough &= !map.is_cut;
        self.take(map.texts.clone())
    }
}

impl From<&Part> for PartView {
    fn from(part: &Part) -> Self {
        Self { digest: part.digest.to_string(), media_type: part.media_type(), size: part.size.0 }
    }
}

impl<S: Storage> Store<S> {
    /// All that is shown of a manifest; of an index, with the image for `platform`, or its first.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when the repository has none that could be read.
    pub(crate) async fn image_view(
        &self,
        name: &RepositoryName,
        reference: &Reference,
        platform: Option<&str>,
        can: Can,
    ) -> Result<ImageView, StorageError> {
        let look = super::known(self.look(name, reference).await)?;
        let look = look.ok_or(StorageError::NotFound)?;
        let budget = Budget::new(LOOKS);
        let (tags, pushed, tags_complete) = self.tags_and_time(name, reference, &look).await?;
        let image = self.content_view(name, &look, platform, &budget).await?;
        let (children, size, all_children) = self.children(name, &look, &budget).await?;
        let (referrers, referrers_complete) = self.referrer_views(name, &look.digest).await?;
        let immutable = match reference {
            Reference::Tag(tag) => self.is_immutable(name, tag.as_str()),
            Reference::Digest(_) => tags.iter().any(|tag| self.is_immutable(name, tag)),
        };
        let Look { digest, bytes, shown } = look;
        Ok(ImageView {
            version: VERSION,
            name: name.as_str().to_owned(),
            reference: reference.to_string(),
            digest: digest.to_string(),
            media_type: shown.media_type(),
            artifact_type: shown.artifact_type(),
            size,
            pushed,
            kind: shown.kind(),
            tags,
            tags_complete,
            immutable,
            can,
            subject: shown.subject.as_ref().map(PartView::from),
            manifest: String::from_utf8_lossy(&bytes).into_owned(),
            children,
            complete: budget.was_enough()
                && all_children
                && !shown.annotations.is_cut
                && image.as_ref().is_none_or(|image| image.complete),
            annotations: shown.annotations.texts,
            image,
            referrers,
            referrers_complete,
        })
    }

    /// The tags of a manifest, when the reference was pushed, and whether these are all tags.
    async fn tags_and_time(
        &self,
        name: &RepositoryName,
        reference: &Reference,
        look: &Look,
    ) -> Result<(Vec<String>, Option<String>, bool), StorageError> {
        let (listed, all_listed) = self.listed_tags(name).await?;
        let (digests, all) = self.all_digests(name, &listed).await?;
        let is_tag = |tag: &str| matches!(reference, Reference::Tag(own) if own.as_str() == tag);
        let pushed = match reference {
            Reference::Tag(_) => listed.iter().find(|tag| is_tag(&tag.name)).map(|tag| tag.pushed),
            Reference::Digest(digest) => {
                let revision = Key::Revision(name.clone(), digest.clone());
                let collection = Collection::Revisions(name.clone());
                let found = super::known(self.entry(&collection, &revision).await)?.flatten();
                found.map(|entry| entry.modified)
            }
        };
        // The tag itself was read just now.
        let leads_here = |tag: &String| {
            digests.get(tag).is_some_and(|found| *found == look.digest) || is_tag(tag)
        };
        let of_manifest = listed.into_iter().map(|tag| tag.name).filter(leads_here);
        let mut tags: Vec<String> = of_manifest.take(TAGS + 1).collect();
        let complete = all_listed && all && tags.len() <= TAGS;
        tags.truncate(TAGS);
        Ok((tags, pushed.and_then(shown_time), complete))
    }

    /// What an index lists, the size of all of a manifest, and whether annotations were left out.
    async fn children(
        &self,
        name: &RepositoryName,
        look: &Look,
        budget: &Budget,
    ) -> Result<(Vec<ChildView>, Option<u64>, bool), StorageError> {
        if look.shown.kind() != Kind::Index {
            return Ok((Vec::new(), self.total(name, look, 0, budget).await?, true));
        }
        let totals = self.child_totals(name, &look.shown, 0, budget).await?;
        let own = look.bytes.len() as u64;
        let size = totals.values().try_fold(own, |sum, total| Some(sum.saturating_add((*total)?)));
        let size = size.filter(|_| !look.shown.manifests.is_cut);
        let mut room = Room::new();
        let children = look.shown.manifests.kept.iter().map(|child| ChildView {
            part: child.into(),
            total: totals.get(&child.digest).copied().flatten(),
            platform: child.platform(),
            artifact_type: child.artifact_type(),
            annotations: room.take_map(&child.annotations),
        });
        let children = children.collect();
        Ok((children, size, room.was_enough && !look.shown.manifests.is_cut))
    }

    /// Config and layers of a manifest, or of one that an index lists.
    async fn content_view(
        &self,
        name: &RepositoryName,
        look: &Look,
        platform: Option<&str>,
        budget: &Budget,
    ) -> Result<Option<ContentView>, StorageError> {
        let child;
        let look = if look.shown.kind() == Kind::Index {
            let Some(chosen) = choose(&look.shown, platform) else { return Ok(None) };
            match self.look_at(name, &chosen.digest, budget).await? {
                Some(found) => {
                    child = found;
                    &child
                }
                None => return Ok(None),
            }
        } else {
            look
        };
        let shown = &look.shown;
        if shown.kind() == Kind::Index || (shown.config.is_none() && shown.layers.kept.is_empty()) {
            return Ok(None);
        }
        let mut stored = None;
        if let (Kind::Image, Some(config)) = (shown.kind(), &shown.config) {
            stored = self.read_config(name, config, CONFIG, budget).await?;
        }
        let is_expected = shown.kind() == Kind::Image;
        Ok(Some(content(&look.digest, shown, stored, is_expected)))
    }

    /// The manifests that refer to one, and whether these are all.
    async fn referrer_views(
        &self,
        name: &RepositoryName,
        subject: &Digest,
    ) -> Result<(Vec<ReferrerView>, bool), StorageError> {
        let (found, complete) = self.known_referrers(name, subject, REFERRERS).await?;
        let mut room = Room::new();
        let descriptors = found.iter().filter_map(|json| serde_json::from_str(json).ok());
        let views: Vec<_> = descriptors
            .map(|descriptor: Descriptor| ReferrerView {
                part: PartView {
                    digest: descriptor.digest.to_string(),
                    media_type: Some(descriptor.media_type.as_str().to_owned()),
                    size: Some(descriptor.size),
                },
                artifact_type: descriptor.artifact_type.map(|found| found.as_str().to_owned()),
                annotations: room.take(descriptor.annotations),
            })
            .collect();
        Ok((views, complete && room.was_enough))
    }
}

/// The manifest of an index that is shown: that for a platform, or the first that is for any.
fn choose<'a>(index: &'a Shown, platform: Option<&str>) -> Option<&'a Part> {
    let children = &index.manifests.kept;
    match platform {
        Some(wanted) => children.iter().find(|child| child.platform().as_deref() == Some(wanted)),
        None => children.iter().find(|child| child.platform().is_some()).or(children.first()),
    }
}

/// Config and layers. Without a config that was expected, it is not complete.
fn content(
    digest: &Digest,
    shown: &Shown,
    stored: Option<Stored>,
    is_expected: bool,
) -> ContentView {
    let is_read = stored.is_some() || !is_expected;
    let (said, is_all) = stored
        .map_or((ConfigView::default(), true), |stored| stored.shown(shown.layers.kept.len()));
    let mut room = Room::new();
    let layers = shown.layers.kept.iter().enumerate().map(|(number, layer)| LayerView {
        part: layer.into(),
        created_by: {
            let step = said.history.iter().find(|step| step.layer == Some(number));
            step.and_then(|step| step.created_by.clone())
        },
        annotations: room.take_map(&layer.annotations),
    });
    let layers = layers.collect();
    ContentView {
        digest: digest.to_string(),
        config: shown.config.as_ref().map(PartView::from),
        layers,
        said,
        complete: is_read && is_all && room.was_enough && !shown.layers.is_cut,
    }
}

#[cfg(test)]
mod tests {
    use super::{ANNOTATIONS, Room, choose};
    use crate::view::manifest::Shown;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn annotations_have_room() {
        let of = |length| BTreeMap::from([("a".to_owned(), "b".repeat(length))]);
        let mut room = Room::new();
        assert_eq!(room.take(of(7)).len(), 1);
        assert!(room.take(of(ANNOTATIONS)).is_empty() && !room.was_enough);
        assert_eq!(room.take(of(7)).len(), 1, "what fits still comes");
    }

    #[test]
    fn the_image_of_an_index() {
        let child = |digit: &str, architecture: &str| {
            json!({
                "digest": format!("sha256:{}", digit.repeat(64)), "size": 1,
                "platform": { "os": "linux", "architecture": architecture },
            })
        };
        let children = [child("a", "unknown"), child("b", "amd64"), child("c", "arm64")];
        let index = json!({ "manifests": children }).to_string();
        let index = Shown::of(index.as_bytes(), None);
        let chosen = |platform| choose(&index, platform).map(|part| &part.digest.encoded()[..1]);
        assert_eq!(chosen(None), Some("b"));
        assert_eq!(chosen(Some("linux/arm64")), Some("c"));
        assert_eq!(chosen(Some("linux/s390x")), None);
        assert!(choose(&Shown::of(b"{}", None), None).is_none());
    }
}
