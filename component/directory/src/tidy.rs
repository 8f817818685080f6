//! The directories of a repository: which stay, and which go with its objects.
//!
//! A deletion removes the file, then its companion, then the directories that are
//! empty. A process that dies in between leaves the rest, which no list shows but
//! the catalog: there, a directory makes a repository.

use crate::entries::{EntryType, failed, for_each, read_until_stable};
use crate::steps::write_lock;
use crate::{Directory, files};
use roadstead_oci::RepositoryName;
use roadstead_storage::{Collection, Key, StorageError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// How many entries of directories one call looks at; the next one goes on.
///
/// Limit: entries that are looked at for empty directories; test: none, more are
/// looked at by the next call.
const VISITS: usize = 10_000;

/// How many levels below the directory of a collection are looked at: those of a
/// tag's history.
///
/// Limit: levels of directories that are looked at for empty ones; test:
/// `what_a_dead_process_left_is_tidied_up`.
const DEPTH: usize = 4;

/// The directories that a repository has as long as it has manifests, because of
/// distribution's collector. One without `_layers` is no repository to it: it
/// deletes the bytes of the manifests. Without `tags`, version 2 ends with an error
/// if it is to delete what has no tag.
pub(crate) fn kept(root: &Path, name: &RepositoryName) -> [PathBuf; 2] {
    [Collection::Tags(name.clone()), Collection::Layers(name.clone())]
        .map(|collection| directory_of(root, &collection))
}

/// The directory of a collection, without a slash at its end: not all hosts remove
/// a directory by such a path.
fn directory_of(root: &Path, collection: &Collection) -> PathBuf {
    root.join(collection.prefix().trim_end_matches('/'))
}

impl Directory {
    /// Removes `path`, where the object of `key` was, and its ancestors as far as
    /// they are empty, but those of [`kept`].
    pub(crate) fn prune_of(&self, key: &Key, path: &Path) {
        let (Key::Layer(name, ..)
        | Key::Tag(name, ..)
        | Key::TagHistory(name, ..)
        | Key::Revision(name, ..)
        | Key::MediaType(name, ..)) = key
        else {
            return self.prune(path);
        };
        self.prune_until(path, &kept(self.root(), name));
        // Looked at only now: of the last tag and the last manifest that are removed
        // at once, the second one finds that the other is gone.
        self.prune_kept(name);
    }

    /// Makes what [`kept`] names.
    pub(crate) fn make_kept(&self, name: &RepositoryName) -> Result<(), StorageError> {
        for path in kept(self.root(), name) {
            match files::metadata(&path) {
                Err(gone) if gone.kind() == ErrorKind::NotFound => {
                    let make = match &self.journal {
                        // Recovery makes them for the manifests that it has records of.
                        Some(_) => Self::create_directories,
                        None => Self::make_directories,
                    };
                    make(self, &path).map_err(failed)?;
                }
                Err(error) => return Err(failed(error)),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Removes them, if they are empty and there are no manifests.
    fn prune_kept(&self, name: &RepositoryName) {
        let manifests = directory_of(self.root(), &Collection::Revisions(name.clone()));
        if is_missing(&manifests) {
            for path in kept(self.root(), name) {
                self.prune(&path);
            }
        }
    }

    /// Removes the empty directories of a repository, and media types whose
    /// manifest is gone.
    pub(crate) fn tidy(&self, repository: &RepositoryName) -> Result<(), StorageError> {
        self.writable()?;
        let mut visits = VISITS;
        // After the tags, whose directory stays while there are manifests.
        let [tags, revisions, layers] =
            [Collection::Tags, Collection::Revisions, Collection::Layers]
                .map(|collection| directory_of(self.root(), &collection(repository.clone())));
        let others = [
            Collection::Referrers,
            Collection::Deletions,
            Collection::Moved,
            Collection::MovedRevisions,
            Collection::MovedTags,
            Collection::Pulled,
            Collection::References,
            Collection::Sessions,
        ]
        .map(|collection| directory_of(self.root(), &collection(repository.clone())));
        for path in [&tags, &revisions, &layers].into_iter().chain(&others) {
            self.tidy_below(path, DEPTH, &mut visits)?;
        }
        if files::remove_dir(&revisions).is_ok() {
            self.synced.forget(&revisions);
        }
        self.prune_kept(repository);
        for path in &others {
            self.prune(path);
        }
        let present = tags.ancestors().skip(1).find(|path| !is_missing(path));
        if let Some(present) = present {
            self.prune(present);
        }
        Ok(())
    }

    /// Removes the empty directories below `path`, which stays.
    fn tidy_below(
        &self,
        path: &Path,
        depth: usize,
        visits: &mut usize,
    ) -> Result<(), StorageError> {
        let children = read_until_stable(|| {
            let mut children = Vec::new();
            for_each(self.root(), path, |name, entry| {
                children.push((name.to_owned(), entry));
                children.len() < *visits
            })?;
            Ok(children)
        })?;
        *visits -= children.len().min(*visits);
        for (name, entry) in children {
            let child = path.join(&name);
            match entry {
                EntryType::Directory if depth > 0 && *visits > 0 => {
                    self.tidy_below(&child, depth - 1, visits)?;
                    if files::remove_dir(&child).is_ok() {
                        self.synced.forget(&child);
                    }
                }
                EntryType::Directory => {}
                EntryType::File => self.remove_stray(&child),
            }
        }
        Ok(())
    }

    /// Removes the media type of a manifest whose link is gone.
    fn remove_stray(&self, path: &Path) {
        let key = path.strip_prefix(self.root()).ok().and_then(|path| path.to_str());
        let Some(Ok(key)) = key.map(Key::parse) else { return };
        let Key::MediaType(name, digest) = &key else { return };
        let _exclusive = write_lock(&self.replacing, self.root());
        if is_missing(&self.path(&Key::Revision(name.clone(), digest.clone()))) {
            let _ = self.take_away(&key, path);
        }
    }
}

fn is_missing(path: &Path) -> bool {
    files::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use crate::Directory;
    use roadstead_oci::{Algorithm, Digest, MediaType, RepositoryName, Tag};
    use roadstead_storage::{Key, StorageError};
    use std::fs;

    /// Distribution's collector needs the directories of tags and of blobs while there
    /// are manifests.
    #[test]
    fn the_directories_of_tags_and_blobs_stay_while_there_are_manifests() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let name = || RepositoryName::parse("a/b").unwrap();
        let tag = |tag: &str| Key::Tag(name(), Tag::parse(tag).unwrap());
        let digest = |byte| Digest::from_bytes(Algorithm::Sha256, &[byte; 32]).unwrap();
        let (one, two) = (digest(1), digest(2));
        let media_type = MediaType::parse("application/vnd.example+json").unwrap();
        let revision = |digest: &Digest| Key::Revision(name(), digest.clone());
        let kept = super::kept(directory.root(), &name());
        let empty = || kept.iter().all(|path| fs::read_dir(path).unwrap().count() == 0);
        let repository = directory.root().join("docker/registry/v2/repositories/a");
        let history = Key::TagHistory(name(), Tag::parse("a").unwrap(), one.clone());
        let layer = Key::Layer(name(), one.clone());
        for tag_goes_first in [true, false] {
            directory.link(&revision(&one), &one, Some(&media_type)).unwrap();
            assert!(empty(), "with the first manifest");
            directory.link(&revision(&two), &two, Some(&media_type)).unwrap();
            for key in [&history, &tag("a"), &layer] {
                directory.link(key, &one, None).unwrap();
            }
            let others = || {
                directory.unlink(&history, &one).unwrap();
                directory.unlink(&tag("a"), &one).unwrap();
                directory.remove(&layer).unwrap();
            };
            if tag_goes_first {
                others();
                assert!(empty(), "nothing but the directories");
            }
            directory.unlink(&revision(&one), &one).unwrap();
            assert!(kept.iter().all(|path| path.is_dir()));
            directory.remove(&revision(&two)).unwrap();
            assert_eq!(repository.exists(), !tag_goes_first);
            if !tag_goes_first {
                others();
            }
            assert!(!repository.exists(), "the repository is gone");
        }
    }

    #[test]
    fn what_a_dead_process_left_is_tidied_up() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let name = RepositoryName::parse("a/b").unwrap();
        let digest = Digest::from_bytes(Algorithm::Sha256, &[7; 32]).unwrap();
        let tag = Tag::parse("v1").unwrap();
        let (repository, subject) = (name.clone(), digest.clone());
        let keys = [
            Key::Tag(name.clone(), tag.clone()),
            Key::TagHistory(name.clone(), tag.clone(), digest.clone()),
            Key::Revision(name.clone(), digest.clone()),
            Key::Layer(name.clone(), digest.clone()),
            Key::Referrer { repository, subject, digest: digest.clone() },
            Key::Deletion { repository: name.clone(), digest: digest.clone(), id: 1 },
            Key::RepositoryDeletion { repository: name.clone(), id: 2 },
            Key::Moves { repository: name.clone(), id: 3 },
            Key::MovedLayer(name.clone(), digest.clone()),
            Key::MovedRevision(name.clone(), digest.clone()),
            Key::MovedTag(name.clone(), tag),
            Key::References(name.clone(), digest.clone()),
        ];
        let media_type = MediaType::parse("application/vnd.example+json").unwrap();
        let repositories = root.path().join("docker/registry/v2/repositories");
        // Whatever stays keeps what it is in.
        for kept in (0..keys.len()).map(Some).chain([None]) {
            for key in &keys {
                directory.link(key, &digest, Some(&media_type)).unwrap();
            }
            for (number, key) in keys.iter().enumerate() {
                if Some(number) != kept {
                    // The process dies here.
                    fs::remove_file(directory.path(key)).unwrap();
                }
            }
            directory.tidy(&name).unwrap();
            assert_eq!(repositories.exists(), kept.is_some(), "{kept:?}");
            for (number, key) in keys.iter().enumerate() {
                let there = directory.size(key) != Err(StorageError::NotFound);
                assert_eq!(there, Some(number) == kept, "{key}");
                let parent = directory.path(key).parent().unwrap().to_owned();
                assert_eq!(parent.exists(), Some(number) == kept, "{key}");
            }
            if let Some(kept) = kept {
                let revision = matches!(keys[kept], Key::Revision(..));
                let tags = repositories.join("a/b/_manifests/tags").exists();
                assert_eq!(tags, revision || kept < 2, "{kept}");
                directory.remove(&keys[kept]).unwrap();
            }
            directory.tidy(&name).unwrap();
            assert!(!repositories.exists(), "{kept:?}");
        }
    }
}
