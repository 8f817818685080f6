//! Archives as they are opened to be served: what is refused, and what the log says.

use super::index::{self, Index, Lacking};
use super::{ArchiveStore, names};
use crate::log;
use anyhow::bail;
use roadstead_archive::{Error, Inventory, Options, Set};
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::LAYOUT;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The most images of which the log says that they lack something.
///
/// Limit: images that the log names because contents are missing; test:
/// `images_that_lack_something_are_named`.
const NAMED: usize = 20;

/// Opens archives to be served. May take long: the headers of all members are read.
///
/// # Errors
/// When one cannot be read, or cannot be served as it is.
pub(crate) fn open(paths: &[PathBuf]) -> anyhow::Result<ArchiveStore> {
    paths.iter().try_for_each(|path| refuse(path))?;
    // Without a place for temporary files, nothing is unpacked.
    let set = Set::open(paths, &Options { temporary: None })?;
    if set.images().is_empty() {
        bail!("{} holds no image", location(paths));
    }
    let unnamed = match paths {
        [path] => stem(path),
        _ => None,
    };
    let called = names::name(set.images(), unnamed.as_ref())?;
    let inventory = set.inventory(&|image| {
        let called = called.get(&(image.name.clone(), image.digest.clone()));
        called.cloned().ok_or_else(|| Error::new(format!("{} has no name", image.digest)))
    })?;
    let here = |digest: &Digest| set.size(digest).is_some();
    let missing = set.missing(&inventory);
    for line in warnings(&index::lacking(&inventory, |digest| missing.get(digest))) {
        tracing::warn!(target: log::UNLIMITED, "{line}");
    }
    let bytes: u64 = inventory.contents.keys().filter_map(|digest| set.size(digest)).sum();
    tracing::info!("{}", summary(paths.len(), set.images().len(), &inventory, bytes));
    let index = Index::new(inventory, here);
    Ok(ArchiveStore::new(set, index))
}

/// Where the data is, for the log.
pub(crate) fn location(paths: &[PathBuf]) -> String {
    match paths {
        [path] => path.display().to_string(),
        paths => log::count(paths.len(), "archive"),
    }
}

/// Refuses the data directory of a registry, which is served otherwise.
fn refuse(path: &Path) -> anyhow::Result<()> {
    if path.join(LAYOUT).is_dir() {
        let shown = path.display();
        bail!(
            "{shown} is the data directory of a registry and no archive; serve it with \
             REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY={shown} roadstead serve"
        );
    }
    Ok(())
}

/// The repository that a file is called as.
fn stem(path: &Path) -> Option<RepositoryName> {
    // `.` has no name before that.
    let path = path.canonicalize().ok()?;
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    RepositoryName::parse(name?.to_str()?).ok()
}

fn summary(archives: usize, images: usize, inventory: &Inventory, bytes: u64) -> String {
    format!(
        "{} in {} of {}, {}",
        log::count(images, "image"),
        match inventory.repositories.len() {
            1 => "1 repository".to_owned(),
            repositories => format!("{repositories} repositories"),
        },
        log::count(archives, "archive"),
        log::count(usize::try_from(bytes).unwrap_or(usize::MAX), "byte"),
    )
}

/// Says which images cannot be pulled as a whole, and what they lack.
fn warnings(lacking: &BTreeMap<String, Lacking>) -> Vec<String> {
    let mut lines: Vec<String> = lacking
        .iter()
        .take(NAMED)
        .map(|(image, Lacking { first, count, volumes })| {
            let what = match count.saturating_sub(1) {
                0 => format!("{first} is"),
                others => format!("{first} and {others} more are"),
            };
            let volumes: Vec<String> = volumes.iter().map(u32::to_string).collect();
            match &volumes[..] {
                [] => format!("{image} is incomplete: {what} in none of the archives"),
                [volume] => format!("{image} is incomplete: {what} in volume {volume}"),
                several => {
                    format!("{image} is incomplete: {what} in volumes {}", several.join(", "))
                }
            }
        })
        .collect();
    if lacking.len() > NAMED {
        lines.push(format!("{} are incomplete", log::count(lacking.len() - NAMED, "more image")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{Lacking, NAMED, location, refuse, stem, warnings};
    use roadstead_oci::{Algorithm, Digest, RepositoryName};
    use std::collections::BTreeMap;
    use std::fs;

    #[test]
    fn data_directories_are_no_archives() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir_all(path("data/docker/registry/v2")).unwrap();
        fs::create_dir_all(path("layout/blobs")).unwrap();
        fs::write(path("a.tar"), "").unwrap();
        let said = refuse(&path("data")).unwrap_err().to_string();
        let expected = format!("ROOTDIRECTORY={} roadstead serve", path("data").display());
        assert!(said.contains(&expected), "{said}");
        for name in ["layout", "a.tar", "none"] {
            assert!(refuse(&path(name)).is_ok(), "{name}");
        }
    }

    #[test]
    fn files_that_are_names() {
        let directory = tempfile::tempdir().unwrap();
        for (name, expected) in [
            ("alpine.tar", Some("alpine")),
            ("alpine-3.20.tar", Some("alpine-3.20")),
            ("Alpine.tar", None),
            ("a b.tar", None),
        ] {
            let path = directory.path().join(name);
            fs::write(&path, "").unwrap();
            assert_eq!(stem(&path).as_ref().map(RepositoryName::as_str), expected, "{name}");
        }
        let layout = directory.path().join("a.b");
        fs::create_dir(&layout).unwrap();
        for path in [layout.clone(), layout.join(".")] {
            assert_eq!(stem(&path).as_ref().map(RepositoryName::as_str), Some("a.b"), "{path:?}");
        }
        assert_eq!(location(&[layout.clone(), layout]), "2 archives");
    }

    #[test]
    fn images_that_lack_something_are_named() {
        let first = Digest::from_bytes(Algorithm::Sha256, &[7; 32]).unwrap();
        let lacking = |images: usize, count, volumes: &[u32]| -> BTreeMap<_, _> {
            let volumes = volumes.iter().copied().collect();
            let lacks = Lacking { first: first.clone(), count, volumes };
            (0..images).map(|i| (format!("a:{i:03}"), lacks.clone())).collect()
        };
        for (images, count, volumes, expected) in [
            (0, 1, &[][..], &[][..]),
            (1, 1, &[], &["a:000 is incomplete: … is in none of the archives"]),
            (1, 1, &[3], &["a:000 is incomplete: … is in volume 3"]),
            (1, 3, &[4, 3], &["a:000 is incomplete: … and 2 more are in volumes 3, 4"]),
        ] {
            let lines = warnings(&lacking(images, count, volumes));
            let lines: Vec<_> =
                lines.iter().map(|line| line.replace(first.as_str(), "…")).collect();
            assert_eq!(lines, expected);
        }
        assert_eq!(warnings(&lacking(NAMED, 1, &[])).len(), NAMED);
        let many = warnings(&lacking(NAMED + 2, 1, &[]));
        assert_eq!(many.len(), NAMED + 1);
        assert_eq!(many[NAMED], "2 more images are incomplete");
    }
}
