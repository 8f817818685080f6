//! What distribution's collector has deleted comes back by `roadstead rescue`: from a backup, and
//! from archives that a client wrote before.

use super::{DELETES, Image, all, collect, copied, index_of, is_version_2, programs, push_index};
use roadstead_tests::program::{required, run};
use roadstead_tests::{Registry, command, digest, get};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Runs `roadstead rescue`: its exit status, and what it prints.
pub fn rescue(arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(["rescue"].iter().chain(arguments)).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// An index with its image and its signature, and an image that is only there.
struct Signed {
    kept: Image,
    platform: Image,
    index: String,
    signature: Image,
}

impl Signed {
    fn new() -> Self {
        let platform = Image::new("rescued", None);
        let index = index_of(&platform);
        let mut signature = Image::new("rescued", Some(&digest(index.as_bytes())));
        // Of the same size.
        signature.blobs[1] = b"its signature".to_vec();
        signature.manifest =
            signature.manifest.replace(&digest(&platform.blobs[1]), &digest(&signature.blobs[1]));
        Self { kept: Image::new("kept", None), platform, index, signature }
    }

    async fn push(&self, data: &Path) -> Registry {
        let registry = Registry::start(data, &DELETES, &[]).unwrap();
        all(&registry.address, self.kept.push()).await;
        all(&registry.address, self.platform.push_as(&self.platform.digest())).await;
        all(&registry.address, vec![push_index("rescued", &self.index)]).await;
        all(&registry.address, self.signature.push_as(&self.signature.digest())).await;
        registry
    }

    /// Has distribution collect with `-m`, and looks for what is gone then.
    async fn collected(&self, program: &Path, root: &Path) -> Registry {
        let data = root.join("data");
        let (succeeded, said) = collect(program, root, &["-m"]);
        assert!(succeeded, "{said}");
        let (status, said) = rescue(&[data.to_str().unwrap()]);
        assert_eq!(status, Some(1), "{said}");
        let [platform, signature] = [&self.platform, &self.signature].map(Image::digest);
        let lost = format!("rescued: manifest {signature} (a signature, SBOM or other referrer)");
        assert!(said.contains(&lost) && said.contains("--from"), "{said}");
        let lost = format!("rescued: manifest {platform} (a platform of");
        assert_eq!(said.contains(&lost), is_version_2(program), "{said}");
        let registry = Registry::start(&data, &DELETES, &[]).unwrap();
        let status = if is_version_2(program) { 404 } else { 200 };
        let at = |digest: &str| get(format!("/v2/rescued/manifests/{digest}"));
        let gone = vec![at(&signature).status(404), at(&platform).status(status)];
        all(&registry.address, [self.kept.pull(), gone].concat()).await;
        registry
    }

    /// Brings all of it back from these sources.
    async fn brought_back(&self, data: &Path, sources: &[PathBuf]) {
        let mut arguments = vec![data.to_str().unwrap()];
        for source in sources {
            arguments.extend(["--from", source.to_str().unwrap()]);
        }
        let (status, said) = rescue(&arguments);
        assert_eq!(status, Some(0), "{said}");
        let registry = Registry::start(data, &DELETES, &[]).unwrap();
        let index = get("/v2/rescued/manifests/v1").content(self.index.clone());
        all(&registry.address, [self.kept.pull(), vec![index]].concat()).await;
        for image in [&self.platform, &self.signature] {
            all(&registry.address, image.pull_by_digest()).await;
        }
        // By its URL, of a registry that serves.
        let (status, said) = rescue(&[&format!("http://{}", registry.address)]);
        assert_eq!(status, Some(0), "{said}");
        assert!(said.contains("nothing is lost"), "{said}");
    }
}

/// A signature, and with version 2 the images of an index; and a backup of before.
#[tokio::test]
async fn what_distribution_collected_is_rescued() {
    for program in programs("what_distribution_collected_is_rescued") {
        rescued_from_a_backup(&program).await;
    }
}

async fn rescued_from_a_backup(program: &Path) {
    let root = tempfile::tempdir().unwrap();
    let (data, backup) = (root.path().join("data"), root.path().join("backup"));
    let content = Signed::new();
    drop(content.push(&data).await);
    copied(&data, &backup);
    let [target, from] = [&data, &backup].map(|path| path.to_str().unwrap());
    let (status, said) = rescue(&[target]);
    assert_eq!(status, Some(0), "{said}");

    let registry = content.collected(program, root.path()).await;
    let (status, said) = rescue(&[target, "--from", from]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("another process serves"), "{said}");
    drop(registry);
    content.brought_back(&data, &[backup]).await;
}

/// One of the index with its images, and one of the signature, which skopeo copies only when
/// asked for it.
#[tokio::test]
async fn what_distribution_collected_is_rescued_from_archives_of_skopeo() {
    let test = "what_distribution_collected_is_rescued_from_archives_of_skopeo";
    if !required(test, "skopeo").await {
        return;
    }
    for program in programs(test) {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        let archives = ["index.tar", "signature.tar"].map(|name| root.path().join(name));
        let content = Signed::new();
        let registry = content.push(&data).await;
        archive(&registry, "rescued:v1", &archives[0]).await;
        let signature = format!("rescued@{}", content.signature.digest());
        archive(&registry, &signature, &archives[1]).await;
        drop(registry);
        drop(content.collected(&program, root.path()).await);
        content.brought_back(&data, &archives).await;
    }
}

/// Has skopeo write an archive.
async fn archive(registry: &Registry, reference: &str, to: &Path) {
    let mut skopeo = Command::new("skopeo");
    // The machine's policy may require signatures.
    skopeo.args(["--insecure-policy", "copy", "--all", "--preserve-digests"]);
    skopeo.arg("--src-tls-verify=false");
    skopeo.arg(format!("docker://{}/{reference}", registry.address));
    run(skopeo.arg(format!("oci-archive:{}", to.display()))).await;
}
