//! Generated images, as OCI image layouts.

use crate::digest;
use crate::program;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// The tag of images within their layouts.
pub const TAG: &str = "1";

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Bytes that are hashed at a time.
const HASH_BUFFER: usize = 1 << 20;

/// One image of an index: its architecture and the size of its layer.
#[derive(Debug)]
pub struct Platform {
    pub architecture: &'static str,
    pub layer: usize,
    /// Compressed, as most layers are. The content is incompressible in any case,
    /// so that transferred sizes are the requested ones.
    pub gzip: bool,
}

/// A layout with one index, tagged [`TAG`].
#[derive(Debug)]
pub struct Layout {
    directory: PathBuf,
    /// The index's digest.
    pub digest: String,
}

impl Layout {
    /// Creates a layout in `directory`, which must not exist yet.
    pub async fn create(directory: &Path, platforms: &[Platform]) -> Self {
        fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
        let mut manifests = Vec::new();
        for platform in platforms {
            manifests.push(image(directory, platform).await);
        }
        let mut index = blob(
            directory,
            INDEX,
            &print(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests })),
        );
        let digest = index["digest"].as_str().unwrap().to_owned();
        index["annotations"] = json!({ "org.opencontainers.image.ref.name": TAG });
        let entry = json!({ "schemaVersion": 2, "manifests": [index] });
        fs::write(directory.join("index.json"), print(&entry)).unwrap();
        let version = json!({ "imageLayoutVersion": "1.0.0" });
        fs::write(directory.join("oci-layout"), print(&version)).unwrap();
        Self { directory: directory.to_owned(), digest }
    }

    /// Opens a layout that a client wrote.
    pub fn open(directory: &Path) -> Self {
        let index = fs::read(directory.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
        Self { directory: directory.to_owned(), digest }
    }

    /// skopeo's name of it.
    pub fn reference(&self) -> String {
        reference(&self.directory)
    }

    /// The digests of its index, manifests, configs and layers, each verified.
    pub fn digests(&self) -> BTreeSet<String> {
        let mut digests = BTreeSet::new();
        for entry in fs::read_dir(self.directory.join("blobs/sha256")).unwrap() {
            let entry = entry.unwrap();
            let actual = file_digest(&entry.path());
            assert_eq!(actual, format!("sha256:{}", entry.file_name().to_str().unwrap()));
            digests.insert(actual);
        }
        digests
    }
}

/// skopeo's name of the image in a layout's directory.
pub fn reference(directory: &Path) -> String {
    format!("oci:{}:{TAG}", directory.display())
}

/// A tar archive of one file with `size` incompressible bytes, which depend on
/// the name.
pub async fn tar(archive: &Path, name: &str, size: usize, gzip: bool) {
    let files = archive.with_extension("files");
    fs::create_dir(&files).unwrap();
    fs::write(files.join(name), noise(name, size)).unwrap();
    let mut tar = Command::new("tar");
    // A layer is archived twice, compressed and not, which must give the same
    // files and times.
    tar.arg("--create").arg("--mtime=@0");
    tar.arg("--file").arg(archive).arg("--directory").arg(&files);
    if gzip {
        tar.arg("--gzip");
    }
    program::run(tar.arg(name)).await;
    fs::remove_dir_all(files).unwrap();
}

/// The digest of a file of any size.
pub fn file_digest(path: &Path) -> String {
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; HASH_BUFFER];
    let mut hash = Sha256::new();
    loop {
        let length = file.read(&mut buffer).unwrap();
        if length == 0 {
            break;
        }
        hash.update(&buffer[..length]);
    }
    let mut digest = "sha256:".to_owned();
    for byte in hash.finalize() {
        write!(digest, "{byte:02x}").unwrap();
    }
    digest
}

/// Stores an image with one layer; returns the index's entry for it.
async fn image(directory: &Path, platform: &Platform) -> Value {
    let architecture = platform.architecture;
    let archive = directory.join(format!("{architecture}.tar"));
    tar(&archive, architecture, platform.layer, false).await;
    let uncompressed = file_digest(&archive);
    let mut media_type = LAYER.to_owned();
    if platform.gzip {
        fs::remove_file(&archive).unwrap();
        tar(&archive, architecture, platform.layer, true).await;
        media_type.push_str("+gzip");
    }
    let layer = blob(directory, &media_type, &fs::read(&archive).unwrap());
    fs::remove_file(&archive).unwrap();
    let config = json!({
        "os": "linux",
        "architecture": architecture,
        "rootfs": { "type": "layers", "diff_ids": [uncompressed] },
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob(directory, CONFIG, &print(&config)),
        "layers": [layer],
    });
    let mut entry = blob(directory, MANIFEST, &print(&manifest));
    entry["platform"] = json!({ "os": "linux", "architecture": architecture });
    entry
}

/// Stores bytes in a layout; returns their descriptor.
fn blob(directory: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = digest(bytes);
    let name = digest.strip_prefix("sha256:").unwrap();
    fs::write(directory.join("blobs/sha256").join(name), bytes).unwrap();
    json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
}

fn print(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// Pseudo-random bytes, the same for the same name.
fn noise(name: &str, size: usize) -> Vec<u8> {
    let seed = name.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |seed, byte| {
        (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}
