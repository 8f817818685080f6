//! Configurations of images.

use super::{text, texts};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The media types of configurations of images.
const OF_IMAGES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// A configuration, as far as containers depend on it.
#[derive(Serialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Config {
    pub(crate) digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) author: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) working_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_signal: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cmd: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) env: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) exposed_ports: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) volumes: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
}

/// A step of the history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    pub(crate) created_by: Option<String>,
    pub(crate) empty_layer: bool,
}

impl Config {
    /// What its descriptor says.
    pub(super) fn listed(descriptor: &Value) -> Self {
        Self {
            digest: text(descriptor, "digest").unwrap_or_default(),
            media_type: text(descriptor, "mediaType"),
            size: descriptor["size"].as_u64(),
            ..Self::default()
        }
    }

    /// Whether it is one of an image, and not of another artifact.
    pub(super) fn is_of_image(&self) -> bool {
        self.media_type.as_deref().is_some_and(|kind| OF_IMAGES.contains(&kind))
    }

    /// Takes what it says, and returns the history.
    pub(super) fn read(&mut self, json: &Value) -> Vec<Step> {
        let config = &json["config"];
        self.created = text(json, "created");
        self.author = text(json, "author");
        self.user = text(config, "User");
        self.working_dir = text(config, "WorkingDir");
        self.stop_signal = text(config, "StopSignal");
        self.entrypoint = list(&config["Entrypoint"]);
        self.cmd = list(&config["Cmd"]);
        self.env = list(&config["Env"]);
        self.exposed_ports = keys(&config["ExposedPorts"]);
        self.volumes = keys(&config["Volumes"]);
        self.labels = texts(&config["Labels"]);
        let steps = json["history"].as_array().into_iter().flatten();
        let step = |step: &Value| Step {
            created_by: text(step, "created_by"),
            empty_layer: step["empty_layer"].as_bool().unwrap_or_default(),
        };
        steps.map(step).collect()
    }
}

/// The texts of an array.
fn list(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// The names of an object.
fn keys(value: &Value) -> Vec<String> {
    value.as_object().into_iter().flat_map(|object| object.keys().cloned()).collect()
}
