//! The end of an upload session: verified bytes become an object.

use crate::{Appender, Directory, Error, Key, LINKS_LIMIT, WriteMode};
use roadstead_oci::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha512};
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

/// Bytes read at a time where bytes are hashed again.
pub(crate) const HASH_BUFFER: usize = 256 * 1024;

impl Directory {
    /// Verifies that the session's bytes have the digest `expected` and makes
    /// them the object of `to`. Returns their number. The session is gone
    /// afterwards, whatever the outcome of the verification.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`] when they do not; [`Error::NotFound`] without
    /// such a session; [`Error::Busy`] while a request appends to it.
    pub fn commit(&self, session: &Key, to: &Key, expected: &Digest) -> Result<u64, Error> {
        self.commit_appended(session, self.append(session, None)?, to, expected, &[])
    }

    /// The same, with bytes that were appended but not finished: the session
    /// ends with this call, so they need not be recorded before. Then writes
    /// `links`, in their order: none is there before the object is.
    pub fn commit_appended(
        &self,
        session: &Key,
        appender: Appender,
        to: &Key,
        expected: &Digest,
        links: &[(Key, String)],
    ) -> Result<u64, Error> {
        if links.len() > LINKS_LIMIT {
            return Err(Error::Io(io::Error::other("more links than an object has")));
        }
        let (file, path, state, lock) = appender.into_parts()?;
        let actual = match expected.algorithm() {
            Algorithm::Sha256 => Digest::from_bytes(Algorithm::Sha256, &state.sha256.finalize()),
            // Sessions are hashed with SHA-256 as they come, since a client
            // names the algorithm only at the end.
            Algorithm::Sha512 => {
                Digest::from_bytes(Algorithm::Sha512, &hash_again::<Sha512>(&path)?)
            }
        };
        let actual = actual.ok_or_else(|| Error::Io(io::Error::other("hash of a wrong length")))?;
        if actual != *expected {
            self.discard(session)?;
            drop(lock);
            return Err(Error::DigestMismatch { actual });
        }
        let links = Links::write(self, links)?;
        links.sync_with(self, &file, to)?;
        drop(file);
        self.publish(&path, to, WriteMode::Overwrite)?;
        self.end(session);
        links.publish(self)?;
        drop(lock);
        Ok(state.offset)
    }

    /// The digest of an object.
    pub fn digest(&self, key: &Key, algorithm: Algorithm) -> Result<Digest, Error> {
        let path = self.path(key);
        let digest = match algorithm {
            Algorithm::Sha256 => Digest::from_bytes(algorithm, &hash_again::<Sha256>(&path)?),
            Algorithm::Sha512 => Digest::from_bytes(algorithm, &hash_again::<Sha512>(&path)?),
        };
        digest.ok_or_else(|| Error::Io(io::Error::other("hash of a wrong length")))
    }
}

/// Objects that are written, and not yet in their places.
struct Links<'a>(Vec<Link<'a>>);

struct Link<'a> {
    key: &'a Key,
    /// Its bytes; nothing for one that is empty and need not last, which is
    /// made in its place.
    written: Option<(File, PathBuf)>,
}

impl<'a> Links<'a> {
    fn write(directory: &Directory, links: &'a [(Key, String)]) -> Result<Self, Error> {
        let mut written = Self(Vec::new());
        for (key, value) in links {
            if key.unsynced() && value.is_empty() {
                written.0.push(Link { key, written: None });
                continue;
            }
            let (mut file, temporary) = directory.temporary_file()?;
            let wrote = file.write_all(value.as_bytes());
            written.0.push(Link { key, written: Some((file, temporary)) });
            wrote.map_err(Error::Io)?;
        }
        Ok(written)
    }

    /// Syncs them, the object's bytes, and the directories that they will be
    /// in, all at once: a disk takes for all about as long as for one.
    fn sync_with(&self, directory: &Directory, object: &File, to: &Key) -> Result<(), Error> {
        let lasting = || self.0.iter().filter(|link| !link.key.unsynced());
        let mut tasks: Vec<Task<'_>> = vec![Box::new(|| object.sync_all().map_err(Error::Io))];
        for key in lasting().map(|link| link.key).chain([to]) {
            tasks.push(Box::new(|| directory.make_parent(key)));
        }
        for (file, _) in lasting().filter_map(|link| link.written.as_ref()) {
            tasks.push(Box::new(|| file.sync_all().map_err(Error::Io)));
        }
        at_once(tasks)
    }

    /// Puts them in their places. One that need not last is left out if that
    /// fails.
    fn publish(mut self, directory: &Directory) -> Result<(), Error> {
        for link in self.0.drain(..) {
            let Some((_, temporary)) = &link.written else {
                let _ = File::create(directory.path(link.key));
                continue;
            };
            let published = directory.publish(temporary, link.key, WriteMode::Overwrite);
            if published.is_err() {
                let _ = fs::remove_file(temporary);
            }
            if !link.key.unsynced() {
                published?;
            }
        }
        Ok(())
    }
}

impl Drop for Links<'_> {
    fn drop(&mut self) {
        for (_, temporary) in self.0.iter().filter_map(|link| link.written.as_ref()) {
            let _ = fs::remove_file(temporary);
        }
    }
}

type Task<'a> = Box<dyn FnOnce() -> Result<(), Error> + Send + 'a>;

/// Does all of it, as far as there are threads at the same time.
fn at_once(mut tasks: Vec<Task<'_>>) -> Result<(), Error> {
    if cfg!(target_family = "wasm") {
        return tasks.into_iter().try_for_each(|task| task());
    }
    let Some(own) = tasks.pop() else { return Ok(()) };
    std::thread::scope(|scope| {
        let others: Vec<_> = tasks.into_iter().map(|task| scope.spawn(task)).collect();
        let mut result = own();
        for other in others {
            let panicked = |_| Error::Io(io::Error::other("a task of a commit panicked"));
            result = result.and(other.join().map_err(panicked).flatten());
        }
        result
    })
}

fn hash_again<H: sha2::Digest>(path: &Path) -> Result<Vec<u8>, Error> {
    let mut file = File::open(path)?;
    let mut hash = H::new();
    let mut buffer = vec![0; HASH_BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().to_vec()),
            n => hash.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Directory, Error, Key, WriteMode};
    use roadstead_oci::{Algorithm, Digest};
    use sha2::{Digest as _, Sha256};
    use std::fs;

    fn key(key: &str) -> Key {
        Key::parse(key).unwrap()
    }

    /// Commits `bytes` with links; what came of it, and the directory.
    fn commit(links: &[&str]) -> (tempfile::TempDir, Directory, Result<u64, Error>) {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        // Below an object there can be none.
        directory.write(&key("file"), b"", WriteMode::Create).unwrap();
        let session = key("r/_uploads/1");
        directory.begin(&session).unwrap();
        let mut appender = directory.append(&session, None).unwrap();
        appender.write(b"bytes").unwrap();
        let digest = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(b"bytes")).unwrap();
        let value = |link: &str| {
            if link.contains("_hint-") { String::new() } else { format!("to {link}") }
        };
        let links: Vec<_> = links.iter().map(|link| (key(link), value(link))).collect();
        let result =
            directory.commit_appended(&session, appender, &key("blob/data"), &digest, &links);
        (root, directory, result)
    }

    fn holds(directory: &Directory, name: &str) -> Option<String> {
        let bytes = directory.read_small(&key(name), 99).ok()??;
        Some(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn links_follow_the_object() {
        let (_root, directory, result) = commit(&["r/a/link", "r/b/link", "blob/_hint-r"]);
        assert_eq!(result.unwrap(), 5);
        assert_eq!(holds(&directory, "blob/data").unwrap(), "bytes");
        for link in ["r/a/link", "r/b/link"] {
            assert_eq!(holds(&directory, link).unwrap(), format!("to {link}"));
        }
        assert_eq!(holds(&directory, "blob/_hint-r").unwrap(), "");
        assert_eq!(fs::read_dir(directory.temporary_directory()).unwrap().count(), 0);
    }

    #[test]
    fn a_hint_may_fail_and_a_link_may_not() {
        let (_root, directory, result) = commit(&["file/_hint-r", "r/a/link"]);
        assert_eq!(result.unwrap(), 5);
        assert!(holds(&directory, "r/a/link").is_some());
        let (_root, directory, result) = commit(&["r/a/link", "file/link"]);
        assert!(matches!(result, Err(Error::Io(_))), "{result:?}");
        assert_eq!(holds(&directory, "r/a/link"), None);
        assert_eq!(holds(&directory, "blob/data"), None, "nothing without what makes it visible");
        assert_eq!(fs::read_dir(directory.temporary_directory()).unwrap().count(), 0);
    }
}
