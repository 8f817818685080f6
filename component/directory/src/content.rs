//! Content that clients ask for: manifests and blobs of a repository.
//!
//! A repository holds what it has a link to; the bytes are the same file for
//! all repositories. Links are read first, so that nothing is disclosed about
//! content that only another repository holds.

use crate::Directory;
use crate::entries::{EntryType, for_each};
use crate::file_range::{FileRange, WithContent};
use roadstead_bridge::storage::{DIGESTS_LIMIT, LIST_LIMIT, Reply};
use roadstead_oci::{ByteRange, Digest, MediaType, Reference, RepositoryName};
use roadstead_storage::{Key, Pointer, StorageError};

impl Directory {
    /// The manifest that a reference points to.
    pub(crate) fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        content: bool,
    ) -> WithContent {
        let digest = match reference {
            Reference::Digest(digest) => digest.clone(),
            Reference::Tag(tag) => {
                let key = Key::Tag(repository.clone(), tag.clone());
                let link = self.value(&key)?;
                Pointer::parse(&key, &link)
                    .inspect_err(|_| {
                        (self.log)(&format!("{key} leads nowhere; push the tag again"));
                    })?
                    .digest
            }
        };
        let media_type = self.recorded_type(repository, &digest)?;
        let blob = Key::Blob(digest.clone());
        if !content {
            let size = self.size(&blob)?;
            return Ok((Reply::Manifest { digest, media_type, size, text: None }, None));
        }
        let (size, file) = self.open_object(&blob)?;
        let (text, file) = FileRange::new(file, 0..size).inlined()?;
        Ok((Reply::Manifest { digest, media_type, size, text }, file))
    }

    /// The media type that was recorded with the repository's link to a manifest.
    fn recorded_type(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<MediaType>, StorageError> {
        let link = Key::Revision(repository.clone(), digest.clone());
        let companion = Key::MediaType(repository.clone(), digest.clone());
        // A companion is written before its link and removed after it: one that
        // is missing may have been removed with the link.
        for _ in 0..2 {
            if !self.leads_to(&link, digest)? {
                return Err(StorageError::NotFound);
            }
            if let Some(text) = self.text(&companion)? {
                return Ok(MediaType::parse(text.trim_end()).ok());
            }
        }
        Ok(None)
    }

    /// A blob that the repository holds, or a part of it.
    pub(crate) fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
        content: bool,
    ) -> WithContent {
        if !self.leads_to(&Key::Layer(repository.clone(), digest.clone()), digest)? {
            // In this order: a collector writes the one before it deletes the other.
            let moved = Key::MovedLayer(repository.clone(), digest.clone());
            let is_moved = self.leads_to(&moved, digest)?;
            return Err(if is_moved { StorageError::LinkMoved } else { StorageError::NotFound });
        }
        let blob = Key::Blob(digest.clone());
        if !content {
            let size = self.size(&blob)?;
            return Ok((Reply::Blob { size, range: 0..size, text: None }, None));
        }
        let (size, file) = self.open_object(&blob)?;
        let range = match range {
            // An empty blob has no ranges, and all of it is empty.
            Some(range) if size > 0 => range.resolve(size).ok_or(StorageError::Range(size))?,
            _ => 0..size,
        };
        let (text, file) = FileRange::new(file, range.clone()).inlined()?;
        Ok((Reply::Blob { size, range, text }, file))
    }

    /// The blobs among these that the repository does not hold.
    pub(crate) fn missing_blobs(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
    ) -> Result<Vec<Digest>, StorageError> {
        let mut missing = Vec::new();
        for digest in digests.iter().take(DIGESTS_LIMIT) {
            match self.blob(repository, digest, None, false) {
                Ok(_) => self.settle(&Key::Layer(repository.clone(), digest.clone()))?,
                Err(StorageError::NotFound | StorageError::LinkMoved) => {
                    missing.push(digest.clone());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(missing)
    }

    /// Which of some manifests the repository does not hold.
    pub(crate) fn missing_manifests(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
    ) -> Result<Vec<Digest>, StorageError> {
        let mut missing = Vec::new();
        for digest in digests.iter().take(DIGESTS_LIMIT) {
            let link = Key::Revision(repository.clone(), digest.clone());
            let held = self.leads_to(&link, digest)?
                && match self.size(&Key::Blob(digest.clone())) {
                    Ok(_) => true,
                    Err(StorageError::NotFound) => false,
                    Err(error) => return Err(error),
                };
            if !held {
                missing.push(digest.clone());
            }
        }
        Ok(missing)
    }

    /// The repositories named by the hints next to a blob.
    pub(crate) fn hints(
        &self,
        digest: &Digest,
        limit: usize,
    ) -> Result<Vec<RepositoryName>, StorageError> {
        let limit = limit.min(LIST_LIMIT);
        let mut found = Vec::new();
        let directory = self.root().join(Key::blob_directory(digest));
        let mut long = Vec::new();
        let read = for_each(self.root(), &directory, |file, entry| {
            match entry {
                EntryType::File => found.extend(Key::hinted(file, None)),
                EntryType::Directory => long.push(file.to_owned()),
            }
            found.len() < limit && long.len() < limit
        });
        let read = long.iter().fold(read, |read, first| {
            read.and(for_each(self.root(), &directory.join(first), |rest, _| {
                found.extend(Key::hinted(first, Some(rest)));
                found.len() < limit
            }))
        });
        found.truncate(limit);
        match read {
            // A hint that was removed meanwhile can be ignored.
            Ok(()) | Err(StorageError::NotFound) => Ok(found),
            Err(error) => Err(error),
        }
    }

    /// The value of an object that is read whole.
    pub(crate) fn value(&self, key: &Key) -> Result<Vec<u8>, StorageError> {
        let limit = key.value_limit();
        let value = crate::objects::read_limited(&self.path(key), limit)?;
        value.ok_or_else(|| StorageError::Failed(format!("{key} has more than {limit} bytes")))
    }
}

#[cfg(test)]
mod tests {
    use crate::Directory;
    use roadstead_bridge::storage::Operation;
    use roadstead_oci::{Algorithm, Digest, MediaType, Reference, RepositoryName, Tag};
    use roadstead_storage::{Key, StorageError};
    use sha2::{Digest as _, Sha256};
    use std::cell::RefCell;
    use std::fs;

    thread_local! {
        static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    /// A link that a loss of power left empty, or full of zeros.
    #[test]
    fn a_torn_tag_is_not_there_and_can_be_replaced_or_deleted() {
        let root = tempfile::tempdir().unwrap();
        let mut directory = Directory::open(root.path()).unwrap();
        directory.log = |line| LOG.with_borrow_mut(|log| log.push(line.to_owned()));
        let (name, tag) = (RepositoryName::parse("a").unwrap(), Tag::parse("v1").unwrap());
        let digest = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(b"{}")).unwrap();
        let key = Key::Tag(name.clone(), tag.clone());
        let revision = Key::Revision(name.clone(), digest.clone());
        directory.write(&Key::Blob(digest.clone()), b"{}").unwrap();
        let media_type = MediaType::parse("a/b").unwrap();
        directory.link(&revision, &digest, Some(&media_type)).unwrap();
        let reference = Reference::Tag(tag);
        let operation = Operation::Manifest { repository: name, reference, content: true };
        for torn in ["", "\0\0\0\0"] {
            directory.link(&key, &digest, None).unwrap();
            assert!(directory.execute(&operation).is_ok());
            fs::write(directory.path(&key), torn).unwrap();
            let found = directory.execute(&operation).map(|(reply, _)| reply);
            assert_eq!(found, Err(StorageError::NotFound));
            let lines = LOG.take();
            assert!(lines.len() == 1 && lines[0].contains("/v1/current/link leads nowhere"));
            directory.remove(&key).unwrap();
            directory.write(&key, torn.as_bytes()).unwrap();
        }
        directory.link(&key, &digest, None).unwrap();
        assert!(directory.execute(&operation).is_ok());
    }

    /// Links that another registry writes in place are empty for a moment.
    #[test]
    fn what_has_an_empty_link_is_held() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let repository = RepositoryName::parse("a").unwrap();
        let digest = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(b"{}")).unwrap();
        let layer = Key::Layer(repository.clone(), digest.clone());
        let revision = Key::Revision(repository.clone(), digest.clone());
        let moved = Key::MovedLayer(repository.clone(), digest.clone());
        directory.write(&Key::Blob(digest.clone()), b"{}").unwrap();
        let reference = Reference::Digest(digest.clone());
        let held = || {
            let digests = [digest.clone()];
            let missing = directory.missing_blobs(&repository, &digests).unwrap().len()
                + directory.missing_manifests(&repository, &digests).unwrap().len();
            let blob = directory.blob(&repository, &digest, None, true);
            let manifest = directory.manifest(&repository, &reference, true);
            (missing, blob.map(drop), manifest.map(drop))
        };
        let gone = (2, Err(StorageError::NotFound), Err(StorageError::NotFound));
        for (text, expected) in
            [("", &(0, Ok(()), Ok(()))), ("\0\0\0\0", &gone), ("sha256:", &gone)]
        {
            for key in [&layer, &revision] {
                directory.link(key, &digest, None).unwrap();
                fs::write(directory.path(key), text).unwrap();
            }
            assert_eq!(held(), *expected, "{text:?}");
        }
        // Who truncated them has died.
        for key in [&layer, &revision] {
            fs::write(directory.path(key), "").unwrap();
            let old = std::time::SystemTime::now() - std::time::Duration::from_mins(2);
            fs::File::options()
                .write(true)
                .open(directory.path(key))
                .and_then(|file| file.set_modified(old))
                .unwrap();
        }
        assert_eq!(held(), gone);
        // No other registry writes this one.
        directory.write(&moved, b"").unwrap();
        assert_eq!(held(), gone);
    }

    #[test]
    fn hints_of_names_of_every_length_are_found() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let digest = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(b"x")).unwrap();
        let name = |length| RepositoryName::parse(&"a".repeat(length)).unwrap();
        directory.write(&Key::Blob(digest.clone()), b"x").unwrap();
        for length in [1, 200, 249, 250, 255] {
            let key = Key::Layer(name(length), digest.clone());
            directory.link(&key, &digest, None).unwrap();
            assert_eq!(directory.hints(&digest, 9).unwrap(), [name(length)]);
            directory.remove(&key).unwrap();
            assert_eq!(directory.hints(&digest, 9).unwrap(), []);
        }
        // No directory of a hint is left.
        let blob = directory.path(&Key::Blob(digest));
        assert_eq!(fs::read_dir(blob.parent().unwrap()).unwrap().count(), 1);
    }
}
