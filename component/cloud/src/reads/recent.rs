//! The bytes of manifests that were read lately.
//!
//! A client that pulls an image asks for the same manifest as all others do, and the bytes of a
//! digest never change: so each request looks whether the repository holds the manifest, and only
//! the first one reads it. An instance may lose them at any time.

use bytes::Bytes;
use roadstead_oci::Digest;
use roadstead_storage::{BlobHash, Moment};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of all manifests that are kept.
///
/// Limit: bytes of manifests that an instance over an object store keeps; test:
/// `manifests_that_were_read_lately`.
const SIZE_LIMIT: usize = 4 * 1024 * 1024;

/// Bytes of a manifest that is kept.
///
/// Limit: bytes of a manifest that an instance keeps, larger ones are not kept; test:
/// `manifests_that_were_read_lately`.
const ENTRY_LIMIT: usize = 256 * 1024;

/// What an entry takes besides its bytes, estimated.
const OVERHEAD: usize = 512;

/// How long bytes are used. Another registry's garbage collection may delete bytes that links still
/// lead to; clients see that after this time.
///
/// Limit: time for which an instance keeps a manifest; test: `manifests_that_were_read_lately`.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct RecentManifests(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    manifests: HashMap<Digest, Entry>,
    /// Their digests, the oldest first.
    order: VecDeque<Digest>,
    size: usize,
}

#[derive(Debug)]
struct Entry {
    bytes: Bytes,
    read: Moment,
}

impl RecentManifests {
    /// The bytes of a manifest, if they were read lately.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.get_at(digest, &Moment::now())
    }

    /// Keeps the bytes of a manifest that was read, if they are what the digest says: those
    /// that are damaged may be mended at any time.
    pub(crate) fn insert(&self, digest: &Digest, bytes: &Bytes) {
        self.insert_at(digest, bytes, Moment::now());
    }

    /// Forgets a manifest whose bytes are deleted.
    pub(crate) fn forget(&self, digest: &Digest) {
        self.lock().remove(digest);
    }

    fn get_at(&self, digest: &Digest, now: &Moment) -> Option<Bytes> {
        let mut kept = self.lock();
        while let Some(oldest) = kept.order.front()
            && kept.manifests.get(oldest).is_some_and(|entry| !entry.is_used(now))
        {
            kept.remove_oldest();
        }
        kept.manifests.get(digest).filter(|entry| entry.is_used(now)).map(|it| it.bytes.clone())
    }

    fn insert_at(&self, digest: &Digest, bytes: &Bytes, now: Moment) {
        if bytes.len() > ENTRY_LIMIT || !has_digest(bytes, digest) {
            return;
        }
        let mut kept = self.lock();
        if kept.manifests.contains_key(digest) {
            return;
        }
        // A copy: the original may be a part of much larger bytes.
        let entry = Entry { bytes: Bytes::copy_from_slice(bytes), read: now };
        kept.size += bytes.len() + OVERHEAD;
        kept.manifests.insert(digest.clone(), entry);
        kept.order.push_back(digest.clone());
        while kept.size > SIZE_LIMIT {
            kept.remove_oldest();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn is_used(&self, now: &Moment) -> bool {
        self.read.is_within(KEPT_FOR, now)
    }
}

fn has_digest(bytes: &[u8], digest: &Digest) -> bool {
    let mut hash = BlobHash::new(digest.algorithm());
    hash.update(bytes);
    hash.finish().is_ok_and(|found| found == *digest)
}

impl Kept {
    fn remove_oldest(&mut self) {
        if let Some(oldest) = self.order.pop_front() {
            self.drop_bytes(&oldest);
        }
    }

    fn remove(&mut self, digest: &Digest) {
        if self.drop_bytes(digest) {
            self.order.retain(|other| other != digest);
        }
    }

    fn drop_bytes(&mut self, digest: &Digest) -> bool {
        let entry = self.manifests.remove(digest);
        self.size -= entry.as_ref().map_or(0, |entry| entry.bytes.len() + OVERHEAD);
        entry.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::{ENTRY_LIMIT, KEPT_FOR, RecentManifests, SIZE_LIMIT};
    use bytes::Bytes;
    use roadstead_oci::Digest;
    use roadstead_storage::Moment;
    use sha2::{Digest as _, Sha256};

    /// A manifest of so many bytes, and its digest.
    fn manifest(number: u8, length: usize) -> (Digest, Bytes) {
        let bytes = Bytes::from(vec![number; length]);
        let hash = Sha256::digest(&bytes);
        (Digest::from_bytes(roadstead_oci::Algorithm::Sha256, &hash).unwrap(), bytes)
    }

    #[test]
    fn manifests_that_were_read_lately() {
        let (recent, now) = (RecentManifests::default(), Moment::now());
        let (too_long, bytes) = manifest(0, ENTRY_LIMIT + 1);
        recent.insert_at(&too_long, &bytes, now);
        assert_eq!(recent.get_at(&too_long, &now), None);
        let count = u8::try_from(SIZE_LIMIT / ENTRY_LIMIT).unwrap();
        let all: Vec<_> = (0..count).map(|number| manifest(number, ENTRY_LIMIT)).collect();
        for (digest, bytes) in &all {
            recent.insert_at(digest, bytes, now);
            recent.insert_at(digest, bytes, now);
            assert_eq!(recent.get_at(digest, &now).as_ref(), Some(bytes));
        }
        // With what they take besides, one too many.
        assert_eq!(recent.get_at(&all[0].0, &now), None);
        assert_eq!(recent.get_at(&all[1].0, &now).as_ref(), Some(&all[1].1));
        let (before, later) = (now.after(KEPT_FOR / 2), now.after(KEPT_FOR));
        let (small, bytes) = manifest(count, 5);
        recent.insert_at(&small, &bytes, before);
        assert_eq!(recent.get_at(&small, &later), Some(bytes));
        assert_eq!(recent.get_at(&all[1].0, &later), None);
        assert_eq!(recent.get_at(&small, &later.after(KEPT_FOR / 2)), None);
        assert_eq!(recent.lock().size, 0);
    }

    #[test]
    fn damaged_bytes_are_not_kept() {
        let recent = RecentManifests::default();
        let ((digest, bytes), (_, other)) = (manifest(1, 9), manifest(2, 9));
        recent.insert(&digest, &other);
        assert_eq!(recent.get(&digest), None);
        recent.insert(&digest, &bytes);
        assert_eq!(recent.get(&digest), Some(bytes));
        recent.forget(&digest);
        assert_eq!(recent.get(&digest), None);
        assert_eq!(recent.lock().order.len(), 0);
    }
}
