//! The OCI image of the registry: an image for each platform, and an index of them,
//! written as an OCI image layout. No container engine takes part, and the same input
//! gives the same bytes.
//!
//! An image has one layer: the program under the names that people call it by
//! (`registry` and `htpasswd` as in distribution's images), a configuration file, and the
//! directory for the data.

mod archive;
mod configuration;
mod layer;
mod layout;
mod program;
#[cfg(test)]
mod tests;

pub use layout::Layout;
pub use program::{Platform, Program};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

/// The user and the group that the program runs as, if nothing else is said: of no user
/// of an ordinary system, as in other images without a shell.
pub const USER: u32 = 65532;

/// The media type of an image's manifest.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The media type of an index.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The media type of a layer.
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The media type of an image's configuration.
const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";

/// What an image says about itself.
#[derive(Clone, Debug)]
pub struct Description {
    /// The name and the tag under which engines know the image, as `roadstead:0.1.0`.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// The commit of its source.
    pub revision: Option<String>,
    /// The time of all files and of the image, in seconds since 1970.
    pub created: u64,
}

impl Description {
    /// `created` as RFC 3339 writes it.
    fn time(&self) -> anyhow::Result<String> {
        let seconds = i64::try_from(self.created).ok();
        let time = seconds.and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0));
        let time = time.with_context(|| format!("{} is no time", self.created))?;
        Ok(time.to_rfc3339_opts(SecondsFormat::Secs, true))
    }

    /// The labels of the configuration, which are the manifest's annotations too.
    fn labels(&self) -> anyhow::Result<Value> {
        let mut labels = json!({
            "org.opencontainers.image.title": "roadstead",
            "org.opencontainers.image.description": "A container registry whose protocol is one WebAssembly component",
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.version": self.version,
            "org.opencontainers.image.created": self.time()?,
        });
        if let Some(revision) = &self.revision {
            labels["org.opencontainers.image.revision"] = json!(revision);
        }
        Ok(labels)
    }
}

/// Builds an image of each program, and an index if there are several.
///
/// # Errors
/// When there is no program, or two are for the same platform.
pub fn build(programs: &[Program], description: &Description) -> anyhow::Result<Layout> {
    ensure!(!programs.is_empty(), "an image needs a program");
    let mut layout = Layout::default();
    let mut manifests = Vec::new();
    for (number, program) in programs.iter().enumerate() {
        let platform = program.platform();
        let earlier = programs[..number].iter().any(|earlier| earlier.platform() == platform);
        ensure!(!earlier, "there are two programs for {}", platform.architecture());
        manifests.push(image(program, description, &mut layout)?);
    }
    let mut root = if let [only] = manifests.as_slice() {
        layout.docker_image(&description.name)?;
        only.clone()
    } else {
        let index = json!({
            "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests,
            "annotations": description.labels()?,
        });
        layout.add(INDEX, index.to_string().into_bytes())
    };
    // The name that engines and tools take an image by, which is in a layout.
    let (host, rest) = description.name.split_once('/').unwrap_or(("", &description.name));
    let tag = rest.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    let full = match (host, host.contains(['.', ':'])) {
        ("", _) => format!("docker.io/library/{rest}"),
        (_, false) => format!("docker.io/{}", description.name),
        (_, true) => description.name.clone(),
    };
    root["annotations"] = json!({
        "io.containerd.image.name": full,
        "org.opencontainers.image.ref.name": tag,
    });
    layout.set_root(&root);
    Ok(layout)
}

/// Adds the image of one platform, and returns its descriptor.
fn image(
    program: &Program,
    description: &Description,
    layout: &mut Layout,
) -> anyhow::Result<Value> {
    let layer = layer::build(program, description.created)?;
    let configuration = configuration::of(program.platform(), &layer, description)?;
    let layer = layout.add(LAYER, layer.compressed);
    let configuration = layout.add(CONFIGURATION, configuration.to_string().into_bytes());
    layout.note_image(&configuration, &layer);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": configuration,
        "layers": [layer],
        "annotations": description.labels()?,
    });
    let mut manifest = layout.add(MANIFEST, manifest.to_string().into_bytes());
    manifest["platform"] = json!({
        "os": "linux",
        "architecture": program.platform().architecture(),
    });
    Ok(manifest)
}
