//! The data of blobs is hashed again, and moved out of the way if it is damaged.

use crate::entries::failed;
use crate::session::HASH_BUFFER;
use crate::steps::write_lock;
use crate::synced::number;
use crate::{Directory, files};
use roadstead_oci::Digest;
use roadstead_storage::{BlobHash, HASH_LIMIT, Hashed, Key, Partial, Quarantine, StorageError};
use std::fs::Metadata;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};

impl Directory {
    /// Hashes bytes of a blob, after those that were hashed already.
    pub(crate) fn hash_blob(
        &self,
        digest: &Digest,
        from: Option<&Partial>,
        limit: u64,
    ) -> Result<Hashed, StorageError> {
        let key = Key::Blob(digest.clone());
        let (size, mut file) = self.open_object(&key)?;
        let offset = from.map_or(0, |from| from.offset);
        let mut hash = BlobHash::resume(digest.algorithm(), from)?;
        let limit = limit.clamp(1, HASH_LIMIT).min(size.saturating_sub(offset));
        let path = self.path(&key);
        // What cannot be read must not look like a blob that is not there.
        let read = files::call("read", &path, || {
            file.seek(SeekFrom::Start(offset))?;
            let mut part = file.take(limit);
            let mut buffer = vec![0; HASH_BUFFER];
            let mut read = 0;
            loop {
                match part.read(&mut buffer) {
                    Ok(0) => return Ok(read),
                    Ok(n) => {
                        hash.update(buffer.get(..n).unwrap_or_default());
                        read += n as u64;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        });
        let read = read.map_err(failed)?;
        if read < limit {
            return Err(StorageError::Failed(format!("{key} has become shorter")));
        }
        Hashed::new(hash, offset, read, size)
    }

    /// Moves the data of a blob to [`Key::Quarantined`], if it is what was `seen`. The
    /// first data that was moved there stays. No write of this process comes between
    /// the comparison and the move; what another process has just put there is put back.
    pub(crate) fn quarantine(&self, seen: &Quarantine) -> Result<bool, StorageError> {
        self.writable()?;
        let data = self.path(&Key::Blob(seen.digest.clone()));
        let aside = self.path(&Key::Quarantined(seen.digest.clone()));
        let is_seen = |metadata: &Metadata| {
            metadata.len() == seen.size
                && metadata.modified().is_ok_and(|modified| modified == seen.modified)
        };
        {
            let _exclusive = write_lock(&self.replacing, self.root());
            let before = match files::metadata(&data) {
                Ok(metadata) if is_seen(&metadata) => metadata,
                Ok(_) => return Ok(false),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(failed(error)),
            };
            if seen.prepare {
                return Ok(true);
            }
            let target = match files::metadata(&aside) {
                Ok(_) => {
                    let (file, temporary) = self.temporary_file()?;
                    drop(file);
                    temporary
                }
                Err(error) if error.kind() == ErrorKind::NotFound => aside.clone(),
                Err(error) => return Err(failed(error)),
            };
            files::rename(&data, &target).map_err(failed)?;
            let moved = files::metadata(&target).map_err(failed)?;
            if !is_seen(&moved) || number(&moved) != number(&before) {
                // An upload by another process came between. It may come again, and then
                // its data is as good.
                match files::hard_link(&target, &data) {
                    Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                        return Err(failed(error));
                    }
                    _ => files::remove_file(&target).map_err(failed)?,
                }
                return Ok(false);
            }
            if target != aside {
                files::remove_file(&target).map_err(failed)?;
            }
        }
        if let Some(parent) = data.parent() {
            files::sync_directory(parent).map_err(failed)?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use crate::Directory;
    use crate::files::testing::watch;
    use roadstead_oci::{Algorithm, Digest};
    use roadstead_storage::{Key, Quarantine, StorageError};
    use sha2::{Digest as _, Sha256};
    use std::{fs, io};

    struct Fixture {
        _root: tempfile::TempDir,
        directory: Directory,
        digest: Digest,
    }

    impl Fixture {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let directory = Directory::open(root.path()).unwrap();
            let digest = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(b"good")).unwrap();
            Self { _root: root, directory, digest }
        }

        fn data(&self) -> Key {
            Key::Blob(self.digest.clone())
        }

        fn write(&self, bytes: &[u8]) -> Quarantine {
            self.directory.write(&self.data(), bytes).unwrap();
            let metadata = fs::metadata(self.directory.path(&self.data())).unwrap();
            let (size, modified) = (metadata.len(), metadata.modified().unwrap());
            Quarantine { digest: self.digest.clone(), size, modified, prepare: false }
        }

        fn quarantined(&self) -> Result<Vec<u8>, StorageError> {
            self.directory.value(&Key::Quarantined(self.digest.clone()))
        }
    }

    #[test]
    fn the_first_damaged_data_is_kept() {
        let f = Fixture::new();
        for bytes in [b"bad1", b"bad2"] {
            let seen = f.write(bytes);
            assert_eq!(f.directory.quarantine(&seen), Ok(true));
            assert_eq!(f.directory.value(&f.data()), Err(StorageError::NotFound));
            assert_eq!(f.quarantined().unwrap(), b"bad1");
            assert_eq!(f.directory.quarantine(&seen), Ok(false), "there is nothing to move");
        }
        assert_eq!(fs::read_dir(f.directory.temporary_directory()).unwrap().count(), 0);
    }

    #[test]
    fn data_that_was_written_since_stays() {
        let f = Fixture::new();
        let seen = f.write(b"damaged");
        f.write(b"good");
        assert_eq!(f.directory.quarantine(&seen), Ok(false));
        assert_eq!(f.directory.value(&f.data()).unwrap(), b"good");
        assert_eq!(f.quarantined(), Err(StorageError::NotFound));
    }

    /// Another process writes between the comparison and the move.
    #[test]
    fn data_of_another_process_is_put_back() {
        for before in [false, true] {
            let f = Fixture::new();
            if before {
                let seen = f.write(b"first");
                assert_eq!(f.directory.quarantine(&seen), Ok(true));
            }
            let seen = f.write(b"damaged");
            let path = f.directory.path(&f.data());
            let _watch = watch(f.directory.path(&f.data()).parent().unwrap(), {
                let path = path.clone();
                move |operation, at| {
                    if operation == "look up" && at.ends_with("_quarantined") && path.exists() {
                        let new = path.with_file_name("new");
                        fs::write(&new, "good")?;
                        fs::rename(new, &path)?;
                    }
                    Ok(())
                }
            });
            assert_eq!(f.directory.quarantine(&seen), Ok(false));
            assert_eq!(f.directory.value(&f.data()).unwrap(), b"good");
            assert_eq!(f.quarantined().ok(), before.then(|| b"first".to_vec()));
        }
    }

    #[test]
    fn an_error_is_not_a_blob_that_is_missing() {
        let f = Fixture::new();
        f.write(b"good");
        let path = f.directory.path(&f.data());
        let _watch = watch(&path, |operation, _| match operation {
            "read" => Err(io::Error::from_raw_os_error(5)),
            _ => Ok(()),
        });
        let hashed = f.directory.hash_blob(&f.digest, None, 100);
        assert!(matches!(hashed, Err(StorageError::Unavailable(_))), "{hashed:?}");
    }
}
