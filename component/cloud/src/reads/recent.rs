//! The bytes of manifests that were read lately.
//!
//! A client that pulls an image asks for the same manifest as all others do, and the bytes of a
//! digest never change: so each request looks whether the repository holds the manifest, and only
//! the first one reads it. This is the one thing that an instance keeps of what it has read, and
//! it may be lost at any time.

use bytes::Bytes;
use roadstead_oci::Digest;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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

/// How long bytes are used: another registry's garbage collection removes some that links still
/// lead to, and clients are to notice.
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
    read: Instant,
}

impl RecentManifests {
    /// The bytes of a manifest, if they were read lately.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.get_at(digest, Instant::now())
    }

    /// Keeps the bytes of a manifest that was read.
    pub(crate) fn insert(&self, digest: &Digest, bytes: &Bytes) {
        self.insert_at(digest, bytes, Instant::now());
    }

    fn get_at(&self, digest: &Digest, now: Instant) -> Option<Bytes> {
        let mut kept = self.lock();
        while let Some(oldest) = kept.order.front()
            && kept.manifests.get(oldest).is_none_or(|entry| now - entry.read >= KEPT_FOR)
        {
            kept.remove_oldest();
        }
        kept.manifests.get(digest).map(|entry| entry.bytes.clone())
    }

    fn insert_at(&self, digest: &Digest, bytes: &Bytes, now: Instant) {
        let mut kept = self.lock();
        if bytes.len() > ENTRY_LIMIT || kept.manifests.contains_key(digest) {
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

impl Kept {
    fn remove_oldest(&mut self) {
        if let Some(oldest) = self.order.pop_front()
            && let Some(entry) = self.manifests.remove(&oldest)
        {
            self.size -= entry.bytes.len() + OVERHEAD;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ENTRY_LIMIT, KEPT_FOR, RecentManifests, SIZE_LIMIT};
    use bytes::Bytes;
    use roadstead_oci::{Algorithm, Digest};
    use std::time::Instant;

    fn digest(number: usize) -> Digest {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Digest::from_bytes(Algorithm::Sha256, &bytes).unwrap()
    }

    #[test]
    fn manifests_that_were_read_lately() {
        let (recent, now) = (RecentManifests::default(), Instant::now());
        let most = Bytes::from(vec![7; ENTRY_LIMIT]);
        recent.insert_at(&digest(0), &Bytes::from(vec![7; ENTRY_LIMIT + 1]), now);
        assert_eq!(recent.get_at(&digest(0), now), None);
        let count = SIZE_LIMIT / ENTRY_LIMIT;
        for number in 0..count {
            recent.insert_at(&digest(number), &most, now);
            recent.insert_at(&digest(number), &most, now);
            assert_eq!(recent.get_at(&digest(number), now).as_ref(), Some(&most));
        }
        // With what they take besides, one too many.
        assert_eq!(recent.get_at(&digest(0), now), None);
        assert_eq!(recent.get_at(&digest(1), now).as_ref(), Some(&most));
        let (before, later) = (now + KEPT_FOR / 2, now + KEPT_FOR);
        recent.insert_at(&digest(count), &Bytes::from_static(b"small"), before);
        assert_eq!(recent.get_at(&digest(count), later).unwrap(), "small");
        assert_eq!(recent.get_at(&digest(1), later), None);
        assert_eq!(recent.get_at(&digest(count), later + KEPT_FOR / 2), None);
        assert_eq!(recent.lock().size, 0);
    }
}
