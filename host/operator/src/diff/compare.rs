//! The comparison of two images.

use crate::described::{Described, Layer};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// How two images differ, or two indexes.
#[derive(Serialize, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Difference {
    /// None of two indexes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) layers: Option<Layers>,
    /// What differs in the configurations and the manifests, by its name.
    pub(super) config: BTreeMap<String, Changed>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) platforms: Vec<Platform>,
    /// What could not be compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) problems: Vec<String>,
}

/// Layers, in the order of their images.
#[derive(Serialize, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Layers {
    pub(super) shared: Vec<Layer>,
    pub(super) only_a: Vec<Layer>,
    pub(super) only_b: Vec<Layer>,
    /// In bytes, as the manifests have them.
    pub(super) shared_size: u64,
    pub(super) only_a_size: u64,
    pub(super) only_b_size: u64,
}

/// A property that is not the same; none, where one image does not have it.
#[derive(Serialize, Debug)]
pub(super) struct Changed {
    pub(super) a: Option<Value>,
    pub(super) b: Option<Value>,
}

/// A platform, and its images.
#[derive(Serialize, Debug)]
pub(super) struct Platform {
    #[serde(rename = "platform")]
    pub(super) name: String,
    /// The digest of the image; none, where an index has none for it.
    pub(super) a: Option<String>,
    pub(super) b: Option<String>,
    /// If both have one, and it is not the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) difference: Option<Box<Difference>>,
}

impl Difference {
    /// Compares two images, two indexes, or an image and an index.
    pub(super) fn between(a: &Described, b: &Described) -> Self {
        let mut all = Self { config: changed(a, b), ..Self::default() };
        let problems = [("a", a), ("b", b)].into_iter();
        all.problems = problems
            .filter_map(|(side, image)| Some(format!("{side}: {}", image.problem.as_ref()?)))
            .collect();
        if a.is_index() || b.is_index() {
            all.platforms = platforms(a, b);
        } else {
            all.layers = Some(Layers::between(a, b));
        }
        all
    }
}

impl Layers {
    fn between(a: &Described, b: &Described) -> Self {
        let digests = |image: &'_ Described| -> BTreeSet<String> {
            image.layers.iter().map(|layer| layer.digest.clone()).collect()
        };
        let (of_a, of_b) = (digests(a), digests(b));
        let (shared, only_a): (Vec<_>, Vec<_>) =
            a.layers.iter().cloned().partition(|layer| of_b.contains(&layer.digest));
        let only_b = b.layers.iter().filter(|layer| !of_a.contains(&layer.digest));
        let only_b: Vec<_> = only_b.cloned().collect();
        let size = |layers: &[Layer]| {
            let sizes = layers.iter().map(|layer| layer.size.unwrap_or_default());
            sizes.fold(0, u64::saturating_add)
        };
        Self {
            shared_size: size(&shared),
            only_a_size: size(&only_a),
            only_b_size: size(&only_b),
            shared,
            only_a,
            only_b,
        }
    }
}

/// The images of an index by their platforms, without attestations of builds; an image itself. An
/// index may have several for one platform.
fn images(image: &Described) -> BTreeMap<&str, Vec<&Described>> {
    let all = if image.is_index() { &image.manifests[..] } else { std::slice::from_ref(image) };
    let mut by_name = BTreeMap::<&str, Vec<&Described>>::new();
    let is_attestation = |name: &str| image.is_index() && name.starts_with("unknown/");
    for image in all {
        let name = image.platform.as_deref().unwrap_or(&image.digest);
        if !is_attestation(name) {
            by_name.entry(name).or_default().push(image);
        }
    }
    by_name
}

fn platforms(a: &Described, b: &Described) -> Vec<Platform> {
    let (mut of_a, mut of_b) = (images(a), images(b));
    let names: BTreeSet<&str> = of_a.keys().chain(of_b.keys()).copied().collect();
    let compare = |name: &str, a: Option<&Described>, b: Option<&Described>| {
        let difference = match (a, b) {
            (Some(a), Some(b)) if a.digest != b.digest => Some(Box::new(Difference::between(a, b))),
            _ => None,
        };
        let digest = |image: Option<&Described>| image.map(|it| it.digest.clone());
        Platform { name: name.to_owned(), a: digest(a), b: digest(b), difference }
    };
    let mut all = Vec::new();
    for name in names {
        let a = of_a.remove(name).unwrap_or_default();
        let b = of_b.remove(name).unwrap_or_default();
        let digests = |of: &[&Described]| of.iter().map(|it| it.digest.clone()).collect();
        let (in_a, in_b): (BTreeSet<String>, BTreeSet<String>) = (digests(&a), digests(&b));
        // Those that both have first, then the others in their order.
        let (both, only_a): (Vec<_>, Vec<_>) =
            a.into_iter().partition(|it| in_b.contains(&it.digest));
        let only_b: Vec<_> = b.into_iter().filter(|it| !in_a.contains(&it.digest)).collect();
        all.extend(both.into_iter().map(|it| compare(name, Some(it), Some(it))));
        for at in 0..only_a.len().max(only_b.len()) {
            all.push(compare(name, only_a.get(at).copied(), only_b.get(at).copied()));
        }
    }
    all
}

/// The properties that are not the same.
fn changed(a: &Described, b: &Described) -> BTreeMap<String, Changed> {
    let (mut of_a, mut of_b) = (properties(a), properties(b));
    let names: BTreeSet<String> = of_a.keys().chain(of_b.keys()).cloned().collect();
    let pairs = names.into_iter().map(|name| {
        let changed = Changed { a: of_a.remove(&name), b: of_b.remove(&name) };
        (name, changed)
    });
    pairs.filter(|(_, changed)| changed.a != changed.b).collect()
}

/// What of an image is compared, by names.
fn properties(image: &Described) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let mut add = |name: String, value: Option<Value>| {
        if let Some(value) = value {
            all.insert(name, value);
        }
    };
    let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
    let list = |list: &Vec<String>| (!list.is_empty()).then(|| json!(list));
    add("mediaType".to_owned(), text(&image.media_type));
    add("artifactType".to_owned(), text(&image.artifact_type));
    for (name, value) in &image.annotations {
        add(format!("annotations.{name}"), Some(json!(value)));
    }
    let Some(config) = &image.config else { return all };
    for (name, value) in [
        ("created", text(&config.created)),
        ("author", text(&config.author)),
        ("user", text(&config.user)),
        ("workingDir", text(&config.working_dir)),
        ("stopSignal", text(&config.stop_signal)),
        ("entrypoint", list(&config.entrypoint)),
        ("cmd", list(&config.cmd)),
        ("exposedPorts", list(&config.exposed_ports)),
        ("volumes", list(&config.volumes)),
    ] {
        add(name.to_owned(), value);
    }
    for variable in &config.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        add(format!("env.{name}"), Some(json!(value)));
    }
    for (name, value) in &config.labels {
        add(format!("labels.{name}"), Some(json!(value)));
    }
    all
}
