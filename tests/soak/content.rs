//! What clients push: layers of a pool, and manifests, each of which belongs to one
//! name of a tag.

use bytes::Bytes;
use fastrand::Rng;
use roadstead_tests::digest;
use serde_json::{Value, json};

pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Layers that are pushed often, so that some manifest always refers to them.
const COMMON: u32 = 48;

/// A blob.
#[derive(Clone, Debug)]
pub struct Blob {
    pub digest: String,
    pub bytes: Bytes,
}

impl Blob {
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { digest: digest(&bytes), bytes }
    }

    /// A layer of the pool: most are small.
    fn layer(number: u32) -> Self {
        let mut random = Rng::with_seed(u64::from(number) + 1);
        let size = match number % 64 {
            0 => 200_000,
            other => 300 + 200 * other as usize,
        };
        let mut bytes = vec![0; size];
        random.fill(&mut bytes);
        Self::new(bytes)
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

/// A manifest, and the blobs that it refers to.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub media_type: &'static str,
    pub blob: Blob,
    pub blobs: Vec<(String, u64)>,
    /// The numbers of its layers, and its configuration.
    made_of: (Vec<u32>, Bytes),
}

impl Manifest {
    fn image(random: &mut Rng, layers: u32, tag: u32, subject: Option<&Blob>) -> Self {
        let count = random.usize(1..=2);
        let numbers: Vec<u32> = (0..count).map(|_| number(random, layers)).collect();
        // Each image has a configuration of its own, as real ones.
        let config = Bytes::from(format!("{{\"created\":\"{:x}\"}}", random.u128(..)));
        let blobs: Vec<Blob> = numbers.iter().map(|number| Blob::layer(*number)).collect();
        let layer = |blob: &Blob| blob.descriptor("application/vnd.oci.image.layer.v1.tar");
        let config_blob = Blob::new(config.clone());
        let mut value = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": config_blob.descriptor("application/vnd.oci.image.config.v1+json"),
            "layers": blobs.iter().map(layer).collect::<Vec<_>>(),
            "annotations": { "tag": tag.to_string() },
        });
        if let Some(subject) = subject {
            value["subject"] = subject.descriptor(IMAGE);
            value["artifactType"] = "application/vnd.example.signature".into();
        }
        let sizes = blobs.iter().chain([&config_blob]);
        let sizes = sizes.map(|blob| (blob.digest.clone(), blob.bytes.len() as u64)).collect();
        Self {
            media_type: IMAGE,
            blob: Blob::new(value.to_string()),
            blobs: sizes,
            made_of: (numbers, config),
        }
    }

    fn index(tag: u32, children: &[Self]) -> Self {
        let value = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": children.iter().map(|child| child.blob.descriptor(IMAGE)).collect::<Vec<_>>(),
            "annotations": { "tag": tag.to_string() },
        });
        Self {
            media_type: INDEX,
            blob: Blob::new(value.to_string()),
            blobs: Vec::new(),
            made_of: (Vec::new(), Bytes::new()),
        }
    }

    pub fn digest(&self) -> &str {
        &self.blob.digest
    }

    /// The blobs to be pushed before it: layers, then its configuration.
    pub fn contents(&self) -> Vec<Blob> {
        let (numbers, config) = &self.made_of;
        let mut all: Vec<Blob> = numbers.iter().map(|number| Blob::layer(*number)).collect();
        if !config.is_empty() {
            all.push(Blob::new(config.clone()));
        }
        all
    }
}

/// What one push stores: an image, or an index with its images, and sometimes a
/// signature.
#[derive(Clone, Debug)]
pub struct Version {
    pub root: Manifest,
    pub children: Vec<Manifest>,
    pub referrer: Option<Manifest>,
}

impl Version {
    pub fn new(random: &mut Rng, layers: u32, tag: u32) -> Self {
        let (root, children) = if random.u32(..8) == 0 {
            let children = [(); 2].map(|()| Manifest::image(random, layers, tag, None)).to_vec();
            (Manifest::index(tag, &children), children)
        } else {
            (Manifest::image(random, layers, tag, None), Vec::new())
        };
        let signed = random.u32(..8) == 0;
        let referrer = signed.then(|| Manifest::image(random, layers, tag, Some(&root.blob)));
        Self { root, children, referrer }
    }

    /// Its manifests, in the order in which they are deleted.
    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        [&self.root].into_iter().chain(&self.referrer).chain(&self.children)
    }
}

fn number(random: &mut Rng, layers: u32) -> u32 {
    if random.bool() { random.u32(..COMMON) } else { COMMON + random.u32(..layers) }
}
