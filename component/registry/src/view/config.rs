//! What the page shows of the config of an image (image-spec, "OCI Image Configuration").

use super::manifest::Platform;
use super::text::{ENTRIES, Flag, List, Names, Number, Text, TextMap, Texts, is_whole};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A config as it is stored. What is damaged is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Stored {
    created: Text,
    author: Text,
    os: Text,
    architecture: Text,
    variant: Text,
    config: Option<Running>,
    history: List<StoredStep>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Running {
    env: Texts,
    entrypoint: Texts,
    cmd: Texts,
    user: Text,
    working_dir: Text,
    exposed_ports: Names,
    volumes: Names,
    labels: TextMap,
    stop_signal: Text,
    healthcheck: Option<StoredHealthcheck>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct StoredHealthcheck {
    test: Texts,
    interval: Number,
    timeout: Number,
    start_period: Number,
    retries: Number,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StoredStep {
    created: Text,
    created_by: Text,
    comment: Text,
    empty_layer: Flag,
}

/// What a config says.
#[derive(Debug, Default, Serialize)]
pub(super) struct ConfigView {
    pub(super) platform: Option<String>,
    created: Option<String>,
    author: Option<String>,
    pub(super) history: Vec<Step>,
    env: Vec<String>,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    user: Option<String>,
    workdir: Option<String>,
    ports: Vec<String>,
    volumes: Vec<String>,
    labels: BTreeMap<String, String>,
    stop_signal: Option<String>,
    healthcheck: Option<Healthcheck>,
}

/// A step of a build.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    created: Option<String>,
    pub(super) created_by: Option<String>,
    comment: Option<String>,
    empty: bool,
    /// The place of the layer that it made among the layers of the manifest.
    pub(super) layer: Option<usize>,
}

/// How the runtime finds out whether a container works.
#[derive(Debug, Serialize)]
struct Healthcheck {
    test: Vec<String>,
    /// In nanoseconds, as stored; so are the other two.
    interval_ns: Option<u64>,
    timeout_ns: Option<u64>,
    start_period_ns: Option<u64>,
    retries: Option<u64>,
}

impl Running {
    /// Whether nothing of it was cut. What is as long as can be shown may have been longer.
    fn is_whole(&self) -> bool {
        let lists = [&self.env.0, &self.entrypoint.0, &self.cmd.0];
        let mut lists = lists.into_iter().chain([&self.exposed_ports.0, &self.volumes.0]);
        !self.labels.is_cut
            && lists.all(|list| list.len() < ENTRIES && list.iter().all(|text| is_whole(text)))
    }
}

/// Whether no step, and nothing of one, was cut.
fn are_whole(steps: &List<StoredStep>) -> bool {
    let texts = steps.kept.iter().flat_map(|step| [&step.created_by.0, &step.comment.0]);
    !steps.is_cut && texts.flatten().all(|text| is_whole(text))
}

impl Stored {
    /// `None` of what is no JSON object with the properties of a config.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn platform(&self) -> Option<String> {
        let (os, architecture) = (self.os.clone(), self.architecture.clone());
        Platform { os, architecture, variant: self.variant.clone() }.text()
    }

    /// What is shown of it, for a manifest with so many layers, and whether that is all.
    pub(super) fn shown(self, layers: usize) -> (ConfigView, bool) {
        let platform = self.platform();
        let Self { created, author, config, history, .. } = self;
        let config = config.unwrap_or_default();
        let is_all = config.is_whole() && are_whole(&history);
        let health = config.healthcheck.map(|health| Healthcheck {
            test: health.test.0,
            interval_ns: health.interval.0,
            timeout_ns: health.timeout.0,
            start_period_ns: health.start_period.0,
            retries: health.retries.0,
        });
        let shown = ConfigView {
            platform,
            created: created.0,
            author: author.said(),
            history: steps(history, layers),
            env: config.env.0,
            entrypoint: config.entrypoint.0,
            cmd: config.cmd.0,
            user: config.user.said(),
            workdir: config.working_dir.said(),
            ports: config.exposed_ports.0,
            volumes: config.volumes.0,
            labels: config.labels.texts,
            stop_signal: config.stop_signal.said(),
            healthcheck: health,
        };
        (shown, is_all)
    }
}

/// The steps, with the layers that they made, if the manifest has as many.
fn steps(history: List<StoredStep>, layers: usize) -> Vec<Step> {
    let made = history.kept.iter().filter(|step| !step.empty_layer.0).count();
    let agrees = made == layers && !history.is_cut;
    let mut next = 0..;
    let shown = history.kept.into_iter().map(|step| Step {
        created: step.created.0,
        created_by: step.created_by.said(),
        comment: step.comment.said(),
        empty: step.empty_layer.0,
        layer: if agrees && !step.empty_layer.0 { next.next() } else { None },
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::Stored;
    use serde_json::{Value, json};

    fn shown(config: &Value, layers: usize) -> Value {
        let stored = Stored::of(config.to_string().as_bytes()).unwrap();
        serde_json::to_value(stored.shown(layers).0).unwrap()
    }

    #[test]
    fn a_config_as_docker_writes_it() {
        let config = json!({
            "created": "2026-05-04T03:02:01Z", "architecture": "arm64", "variant": "v8",
            "os": "linux", "author": "",
            "config": {
                "Env": ["A=b"], "Entrypoint": null, "Cmd": ["sh"], "User": "1000",
                "WorkingDir": "/", "ExposedPorts": { "80/tcp": {} }, "Volumes": { "/x": {} },
                "Labels": { "<script>": "&" }, "StopSignal": "SIGINT",
                "Healthcheck": { "Test": ["CMD", "true"], "Interval": 1_000_000_000 },
            },
            "history": [
                { "created_by": "ADD x", "created": "2026-05-04T03:02:01Z" },
                { "created_by": "ENV A=b", "empty_layer": true },
                { "created_by": "RUN y", "comment": "c" },
            ],
            "rootfs": { "type": "layers", "diff_ids": [] },
        });
        let found = shown(&config, 2);
        assert_eq!(found["platform"], "linux/arm64/v8");
        assert_eq!(found["author"], json!(null));
        assert_eq!(found["labels"]["<script>"], "&");
        assert_eq!(found["healthcheck"]["interval_ns"], 1_000_000_000);
        let layers = |found: &Value| {
            let steps = found["history"].as_array().unwrap().iter();
            steps.map(|step| step["layer"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(layers(&found), [json!(0), json!(null), json!(1)]);
        // Its history is about other layers.
        assert_eq!(layers(&shown(&config, 3)), [json!(null), json!(null), json!(null)]);
    }

    #[test]
    fn configs_that_are_damaged() {
        for text in ["", "[]", "7", "\"x\"", r#"{"config":[]"#, r#"{"history":7}"#] {
            assert!(Stored::of(text.as_bytes()).is_none() || text == "[]", "{text}");
        }
        let odd = json!({ "created": 7, "config": null, "history": null, "os": {} });
        assert_eq!(shown(&odd, 0)["created"], json!(null));
    }
}
