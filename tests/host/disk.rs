//! The files on the disk: distribution's layout, according to its documentation.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A registry's storage directory.
#[derive(Clone, Copy)]
pub struct Disk<'a>(pub &'a Path);

impl Disk<'_> {
    pub fn blob(self, digest: &str) -> PathBuf {
        let (algorithm, hex) = digest.split_once(':').unwrap();
        self.base().join("blobs").join(algorithm).join(&hex[..2]).join(hex).join("data")
    }

    /// The digests of all blobs. A blob's directory may also contain the
    /// registry's hints.
    pub fn blobs(self) -> Vec<String> {
        let mut digests = Vec::new();
        for file in files(&self.base().join("blobs")) {
            if file.file_name().is_none_or(|name| name != "data") {
                continue;
            }
            let names: Vec<_> = file.iter().rev().map(|name| name.to_str().unwrap()).collect();
            let [_, hex, shard, algorithm, ..] = names[..] else { panic!("{}", file.display()) };
            assert!(hex.starts_with(shard), "{}", file.display());
            digests.push(format!("{algorithm}:{hex}"));
        }
        digests
    }

    pub fn layer_link(self, repository: &str, digest: &str) -> PathBuf {
        self.link(repository, "_layers", digest)
    }

    pub fn revision_link(self, repository: &str, digest: &str) -> PathBuf {
        self.link(repository, "_manifests/revisions", digest)
    }

    pub fn tag_link(self, repository: &str, tag: &str) -> PathBuf {
        self.repository(repository).join("_manifests/tags").join(tag).join("current/link")
    }

    /// The directories of the upload sessions of a repository.
    pub fn sessions(self, repository: &str) -> Vec<PathBuf> {
        entries(&self.repository(repository).join("_uploads"))
    }

    /// The temporary files: among others, the first bytes of uploads.
    pub fn temporary(self) -> Vec<PathBuf> {
        entries(&self.0.join(".roadstead/tmp"))
    }

    /// The bytes on disk of the only upload in flight: in its session, or still in a temporary
    /// file.
    pub fn arriving(self, repository: &str) -> u64 {
        let sessions = self.sessions(repository);
        assert!(sessions.len() <= 1, "{sessions:?}");
        let session = sessions.first().map(|session| session.join("data"));
        let files = session.into_iter().chain(self.temporary());
        files.filter_map(|file| fs::metadata(file).ok()).map(|file| file.len()).sum()
    }

    fn link(self, repository: &str, directory: &str, digest: &str) -> PathBuf {
        let (algorithm, hex) = digest.split_once(':').unwrap();
        self.repository(repository).join(directory).join(algorithm).join(hex).join("link")
    }

    fn repository(self, name: &str) -> PathBuf {
        self.base().join("repositories").join(name)
    }

    fn base(self) -> PathBuf {
        self.0.join("docker/registry/v2")
    }
}

/// The entries of a directory; none if it does not exist.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory);
    entries.map(|all| all.map(|entry| entry.unwrap().path()).collect()).unwrap_or_default()
}

/// All files below a directory; none if it does not exist.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// What `du` says of a directory, in KiB.
pub fn disk_usage(root: &Path) -> u64 {
    let output = Command::new("du").arg("-sk").arg(root).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    said.split_whitespace().next().unwrap().parse().unwrap()
}
