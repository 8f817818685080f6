//! What manifests describe, for commands that show or compare images. Nothing of it is trusted: a
//! property of the wrong type counts as missing, and how much is read has limits.

mod config;
mod json;

use crate::platform::Platform;
use crate::pull::{self, Found};
use crate::registry::Registry;
pub(crate) use config::{Config, Step};
use futures::future::LocalBoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use json::Budget;
use roadstead_oci::{Digest, MediaType, Reference, RepositoryName};
use serde::Serialize;
use serde_json::Value;
use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use tokio::sync::Semaphore;

/// How many manifests and layers are shown, and how many referrers.
///
/// Limit: manifests and layers that `inspect` and `diff` show for one reference, and referrers that
/// `inspect` does; test: `more_entries_than_the_limit_are_counted`.
pub(crate) const ENTRIES: usize = 10_000;

/// How many values of JSON are kept: texts, numbers, items of arrays and of objects.
///
/// Limit: values of JSON that `inspect` and `diff` keep for one reference; test:
/// `no_more_is_kept_than_is_allowed`.
const VALUES: usize = 1_000_000;

/// How many manifests of an index are read; others are only listed.
///
/// Limit: manifests that `inspect` and `diff` read for one reference; test: `an_index_is_read_up_to_limits`.
const MANIFESTS: usize = 500;

/// How many bytes of manifests and configurations are read.
///
/// Limit: bytes of manifests and configurations that `inspect` and `diff` read for one reference;
/// test: `an_index_is_read_up_to_limits`.
const BYTES: usize = 64 * 1024 * 1024;

/// How deep indexes within indexes are read.
///
/// Limit: depth of indexes that `inspect` and `diff` read; test: `an_index_is_read_up_to_limits`.
const DEPTH: usize = 4;

/// The largest configuration of an image.
///
/// Limit: bytes of an image's configuration that `inspect` and `diff` read; test:
/// `configurations_that_lie_are_told`.
const CONFIG: usize = 4 * 1024 * 1024;

/// How many manifests are read at a time.
///
/// Limit: requests of `inspect` and `diff` at a time; test: none, others wait.
const PARALLEL: usize = 4;

/// A manifest, and what it leads to.
#[derive(Serialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Described {
    pub(crate) digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    /// In bytes, of the manifest itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    /// As an index lists it: `linux/arm/v7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<String>,
    /// The same without the version of the operating system.
    #[serde(skip)]
    pub(crate) runs_on: Option<Platform>,
    /// The digest of the manifest that this one refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<Config>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) layers: Vec<Layer>,
    /// The sum of the layers, in bytes, as the manifest has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) layers_size: Option<u64>,
    /// Those that an index lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) manifests: Vec<Described>,
    /// What is wrong with it, or why it was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

/// A layer, or another blob of a manifest.
#[derive(Serialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Layer {
    pub(crate) digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    /// The command that made it, by the history of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created_by: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Described {
    /// Whether it is an index.
    pub(crate) fn is_index(&self) -> bool {
        let kind = self.media_type.as_deref().and_then(|text| MediaType::parse(text).ok());
        kind.is_some_and(|kind| kind.is_index())
    }

    /// The bytes of all that it leads to, with itself: of an image each blob once, of an index each
    /// manifest once; none, if a part of it is not known.
    pub(crate) fn total_size(&self) -> Option<u64> {
        if self.problem.is_some() {
            return None;
        }
        let layers = self.layers.iter().map(|layer| (&layer.digest, layer.size));
        let config = self.config.iter().map(|config| (&config.digest, config.size));
        let blobs: BTreeMap<_, _> = layers.chain(config).collect();
        let own = blobs.into_values().try_fold(self.size?, |sum, size| sum.checked_add(size?))?;
        let children: BTreeMap<_, _> =
            self.manifests.iter().map(|child| (&child.digest, child)).collect();
        children.into_values().try_fold(own, |sum, child| sum.checked_add(child.total_size()?))
    }

    /// Those of an index, each once, or that of an image.
    pub(crate) fn platforms(&self) -> Vec<String> {
        let mut seen = HashSet::new();
        let all = self.manifests.iter().chain([self]).filter_map(|it| it.platform.clone());
        let known = all.filter(|platform| !platform.starts_with("unknown/"));
        known.filter(|platform| seen.insert(platform.clone())).collect()
    }

    /// Adds what is wrong.
    pub(crate) fn mind(&mut self, problem: String) {
        self.problem = Some(match self.problem.take() {
            Some(others) => format!("{others}; {problem}"),
            None => problem,
        });
    }

    /// What a descriptor says.
    fn listed(descriptor: &Value) -> Self {
        Self {
            digest: text(descriptor, "digest").unwrap_or_default(),
            media_type: text(descriptor, "mediaType"),
            size: descriptor["size"].as_u64(),
            artifact_type: text(descriptor, "artifactType"),
            platform: platform(&descriptor["platform"]),
            runs_on: Platform::read(&descriptor["platform"]),
            annotations: texts(&descriptor["annotations"]),
            ..Self::default()
        }
    }
}

/// A text that is not empty.
pub(crate) fn text(value: &Value, name: &str) -> Option<String> {
    value[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The texts of an object, by their names.
pub(crate) fn texts(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// A platform, as Docker writes it, with the version of the operating system.
fn platform(value: &Value) -> Option<String> {
    let mut all = Platform::read(value)?.to_string();
    if let Some(version) = text(value, "os.version") {
        all = format!("{all} ({version})");
    }
    Some(all)
}

/// Reads the manifests of one reference, within the limits.
pub(crate) struct Reader<'a, R> {
    registry: &'a R,
    name: &'a RepositoryName,
    manifests: Cell<usize>,
    entries: Cell<usize>,
    bytes: Cell<usize>,
    values: Budget,
    /// For each request: indexes within indexes are read at the same time.
    permits: Semaphore,
}

impl<'a, R: Registry> Reader<'a, R> {
    pub(crate) fn new(registry: &'a R, name: &'a RepositoryName) -> Self {
        Self {
            registry,
            name,
            manifests: Cell::new(MANIFESTS),
            entries: Cell::new(ENTRIES),
            bytes: Cell::new(BYTES),
            values: Budget::new(VALUES, ENTRIES),
            permits: Semaphore::new(PARALLEL),
        }
    }

    /// All that a manifest describes.
    pub(crate) async fn describe(&self, found: &Found) -> Described {
        self.manifest(found, Described::default(), 0).await
    }

    /// Takes from what may still be read. When it is not enough, nothing more is read.
    fn may_read(&self, bytes: usize) -> Result<(), String> {
        let rest = self.bytes.get().checked_sub(bytes);
        self.bytes.set(rest.unwrap_or_default());
        rest.map(drop).ok_or_else(too_many_bytes)
    }

    /// As many of these as may still be shown; the others are counted in `more`.
    fn some<'b>(&self, all: &'b [Value], more: &mut usize) -> &'b [Value] {
        let taken = all.len().min(self.entries.get());
        self.entries.set(self.entries.get() - taken);
        *more += all.len() - taken;
        all.get(..taken).unwrap_or_default()
    }

    /// A manifest that was read; `listed` is what its index says of it.
    fn manifest<'b>(
        &'b self,
        found: &'b Found,
        listed: Described,
        depth: usize,
    ) -> LocalBoxFuture<'b, Described> {
        async move {
            let (json, mut more) = match self.values.read(&found.bytes) {
                Ok(read) => read,
                Err(error) => {
                    let mut all = listed;
                    all.digest = found.digest.to_string();
                    all.mind(format!("not JSON: {error}"));
                    return all;
                }
            };
            let mut all = properties(found, listed, &json);
            if let Some(children) = json["manifests"].as_array() {
                let children = self.some(children, &mut more);
                let read = stream::iter(children).map(|child| self.child(child, depth + 1));
                all.manifests = read.buffered(PARALLEL).collect().await;
            }
            if let Some(layers) = json["layers"].as_array().or(json["blobs"].as_array()) {
                all.layers = self.some(layers, &mut more).iter().map(layer).collect();
                let sizes = all.layers.iter().map(|layer| layer.size.unwrap_or_default());
                all.layers_size = Some(sizes.fold(0, u64::saturating_add));
            }
            if json["config"].is_object() {
                self.configure(&mut all, &json["config"]).await;
            }
            if more > 0 {
                all.mind(format!("{more} more are not shown"));
            }
            all
        }
        .boxed_local()
    }

    /// A manifest that an index lists.
    async fn child(&self, descriptor: &Value, depth: usize) -> Described {
        let mut listed = Described::listed(descriptor);
        let is_manifest = |text: &String| MediaType::parse(text).is_ok_and(|it| it.is_json());
        // Caches of builds are indexes of layers.
        if !listed.media_type.as_ref().is_none_or(is_manifest) {
            return listed;
        }
        match self.fetch(&listed.digest, depth).await {
            Ok(found) => self.manifest(&found, listed, depth).await,
            Err(problem) => {
                listed.mind(problem);
                listed
            }
        }
    }

    async fn fetch(&self, digest: &str, depth: usize) -> Result<Found, String> {
        if depth > DEPTH {
            return Err(format!("not read: indexes are nested deeper than {DEPTH}"));
        }
        let digest = Digest::parse(digest).map_err(|error| error.to_string())?;
        let rest = self.manifests.get().checked_sub(1);
        let rest = rest.ok_or_else(|| format!("not read: more than {MANIFESTS} manifests"))?;
        self.manifests.set(rest);
        // Never closed.
        let _permit = self.permits.acquire().await;
        if self.bytes.get() == 0 {
            return Err(too_many_bytes());
        }
        let found = pull::manifest(self.registry, self.name, &Reference::Digest(digest)).await?;
        let found = found.ok_or_else(|| "the registry does not have it".to_owned())?;
        self.may_read(found.bytes.len())?;
        Ok(found)
    }

    /// Reads the configuration, and which commands made the layers.
    async fn configure(&self, all: &mut Described, descriptor: &Value) {
        let mut config = Config::listed(descriptor);
        if config.is_of_image() {
            match self.config(&config).await {
                Ok(json) => {
                    let history = config.read(&json);
                    add_commands(&mut all.layers, history);
                    all.platform = all.platform.take().or_else(|| platform(&json));
                    all.runs_on = all.runs_on.take().or_else(|| Platform::read(&json));
                }
                Err(problem) => all.mind(format!("its configuration: {problem}")),
            }
        }
        all.config = Some(config);
    }

    async fn config(&self, config: &Config) -> Result<Value, String> {
        let size = config.size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
        if size > CONFIG {
            return Err(format!("not read: it has more than {CONFIG} bytes"));
        }
        let digest = Digest::parse(&config.digest).map_err(|error| error.to_string())?;
        self.may_read(size)?;
        let _permit = self.permits.acquire().await;
        let bytes = pull::small_blob(self.registry, self.name, &digest, size).await?;
        let bytes = bytes.ok_or_else(|| "the registry does not have it".to_owned())?;
        if bytes.len() != size {
            return Err(format!("the manifest says that it has {size} bytes, not {}", bytes.len()));
        }
        self.values.read(&bytes).map(|(json, _)| json).map_err(|error| error.to_string())
    }
}

fn too_many_bytes() -> String {
    format!("not read: more than {BYTES} bytes in all")
}

/// What a manifest says of itself.
fn properties(found: &Found, listed: Described, json: &Value) -> Described {
    let size = found.bytes.len() as u64;
    let said = listed.size;
    let own = text(json, "mediaType");
    let sent = found.media_type.as_ref().map(ToString::to_string);
    let mut all = Described {
        digest: found.digest.to_string(),
        media_type: own.or(sent).or(listed.media_type.clone()),
        size: Some(size),
        artifact_type: text(json, "artifactType").or(listed.artifact_type.clone()),
        subject: text(&json["subject"], "digest"),
        ..listed
    };
    all.annotations.extend(texts(&json["annotations"]));
    if let Some(said) = said.filter(|said| *said != size) {
        all.mind(format!("the index says that it has {said} bytes"));
    }
    all
}

fn layer(descriptor: &Value) -> Layer {
    Layer {
        digest: text(descriptor, "digest").unwrap_or_default(),
        media_type: text(descriptor, "mediaType"),
        size: descriptor["size"].as_u64(),
        created_by: None,
        annotations: texts(&descriptor["annotations"]),
    }
}

/// Says which command made each layer, if the history has as many of them.
fn add_commands(layers: &mut [Layer], history: Vec<Step>) {
    let made: Vec<Step> = history.into_iter().filter(|step| !step.empty_layer).collect();
    if made.len() == layers.len() {
        for (layer, step) in layers.iter_mut().zip(made) {
            layer.created_by = step.created_by;
        }
    }
}
