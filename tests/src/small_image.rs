//! An image of one layer, as requests push and pull it.

use roadstead_kit::images::{IMAGE, image};
use roadstead_kit::requests::{Step, digest, get, post, put};
use serde_json::json;

/// An image of one layer, in the repository `team/app`.
#[derive(Debug)]
pub struct SmallImage {
    tag: &'static str,
    config: String,
    layer: String,
}

impl SmallImage {
    /// An image with this tag, whose layer is the tag so many times.
    pub fn new(tag: &'static str, times: usize) -> Self {
        Self { tag, config: json!({ "tag": tag }).to_string(), layer: tag.repeat(times) }
    }

    fn manifest(&self) -> String {
        image(&self.config, &self.layer).to_string()
    }

    /// The path of its manifest, by its digest.
    pub fn path(&self) -> String {
        format!("/v2/team/app/manifests/{}", self.digests()[2])
    }

    /// The digests of its configuration, its layer and its manifest.
    pub fn digests(&self) -> [String; 3] {
        [&self.config, &self.layer, &self.manifest()].map(|text| digest(text.as_bytes()))
    }

    /// The bytes of all three.
    pub fn bytes(&self) -> usize {
        self.config.len() + self.layer.len() + self.manifest().len()
    }

    /// The requests that push it.
    pub fn pushed(&self) -> Vec<Step> {
        let blob = |text: &str| {
            post(format!("/v2/team/app/blobs/uploads/?digest={}", digest(text.as_bytes())))
                .header("content-type", "application/octet-stream")
                .body(text.to_owned())
                .status(201)
        };
        let manifest = put(format!("/v2/team/app/manifests/{}", self.tag))
            .header("content-type", IMAGE)
            .body(self.manifest())
            .status(201);
        vec![blob(&self.config), blob(&self.layer), manifest]
    }

    /// The requests that pull it, with what they get.
    pub fn pulled(&self) -> Vec<Step> {
        let blob = |text: &str| {
            get(format!("/v2/team/app/blobs/{}", digest(text.as_bytes()))).content(text.to_owned())
        };
        let manifest = get(format!("/v2/team/app/manifests/{}", self.tag));
        vec![manifest.content(self.manifest()), blob(&self.config), blob(&self.layer)]
    }
}
