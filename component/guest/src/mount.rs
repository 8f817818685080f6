//! A mounted directory, and advice if there is none that is persistent and
//! writable.
//!
//! Spin mounts directories in three ways, of which two do not persist a push,
//! and does not tell the component which. The component can observe this:
//!
//! - `spin up` copies all directories into one, mounts the copy at `/`, and
//!   deletes it when it ends. So what is mounted at `/` is a copy;
//! - with `--direct-mounts`, each directory is mounted under its own name, and
//!   then nothing is at `/`;
//! - without `--allow-transient-write`, either is read-only.
//!
//! Other hosts may mount a persistent directory at `/`: it is a copy only if
//! the request came through Spin.

use http::{HeaderMap, HeaderName};
use roadstead_directory::{Directory, Options};
use std::fs;
use std::io::{Error, ErrorKind};
use std::path::Path;

/// A header that Spin adds to every request, and that no client can remove. A
/// client that forges it under another host at worst has its own request
/// refused.
const SPIN: HeaderName = HeaderName::from_static("spin-full-url");

/// The command with which Spin mounts the directories themselves, writable.
const SPIN_UP: &str = "run, in the directory of spin.toml: \
                       spin up --direct-mounts --allow-transient-write";

/// Why a directory is not served.
enum Problem {
    /// Neither it nor anything above it is mounted.
    Missing,
    /// It is a copy that ends with the host.
    Copy,
    /// Nothing can be written there.
    ReadOnly(Error),
    /// Something else.
    Other(Error),
}

/// Opens the directory, if writes to it are persistent, or `read_only`.
pub(crate) fn open(root: &Path, read_only: bool, headers: &HeaderMap) -> Result<Directory, String> {
    let spin = headers.contains_key(SPIN);
    let opened = if spin && exists(Path::new("/")) {
        Err(Problem::Copy)
    } else {
        let options = Options { read_only, log: |line| eprintln!("{line}"), ..Options::default() };
        Directory::open_with(root, options).map_err(|error| Problem::of(error, root))
    };
    opened.map_err(|problem| problem.advice(root, spin))
}

fn exists(path: &Path) -> bool {
    fs::metadata(path).is_ok()
}

impl Problem {
    fn of(error: Error, root: &Path) -> Self {
        if !root.ancestors().any(exists) {
            return Self::Missing;
        }
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(error),
            _ => Self::Other(error),
        }
    }

    /// The problem, and how to fix it.
    fn advice(&self, root: &Path, spin: bool) -> String {
        let root = root.display();
        let what = match self {
            Self::Missing => format!("nothing is mounted at {root}"),
            Self::Copy => format!("{root} is a copy, which Spin does not keep"),
            Self::ReadOnly(error) => format!("{root} is mounted read-only ({error})"),
            Self::Other(error) => format!("cannot write to {root}: {error}"),
        };
        let todo = match (self, spin) {
            (Self::Missing, true) => format!(
                "have spin.toml mount a directory, by files = [{{ source = \"data\", destination = \
                 \"{root}\" }}], and {SPIN_UP}"
            ),
            (_, true) => SPIN_UP.to_owned(),
            (_, false) => format!(
                "mount a directory there that exists and can be written, as in: wasmtime serve -S \
                 cli --dir DIRECTORY::{root}; or name another place with \
                 REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"
            ),
        };
        format!(
            "{what}; {todo}; or keep everything in a bucket, by REGISTRY_STORAGE_S3_BUCKET and the \
             settings beside it"
        )
    }
}
