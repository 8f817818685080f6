//! Bytes that are in memory on their way to clients: how many there may be, and
//! values that count among them until they are dropped.

use bytes::Bytes;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Pieces of files that are read ahead of their clients, in bytes. Beyond it,
/// files are read in small pieces, one at a time.
///
/// Limit: bytes of files read ahead for all responses; test: `tiny_windows_are_bounded_and_closed`.
const FILES_LIMIT: usize = 64 * 1024 * 1024;

/// Bytes of responses over HTTP/2 that wait for their clients, besides one
/// [`crate::net::response_body::CHUNK`] of each.
///
/// Limit: bytes queued on all HTTP/2 streams; test: `tiny_windows_are_bounded_and_closed`.
const QUEUE_LIMIT: usize = 64 * 1024 * 1024;

/// One client has at most this part of a budget, so that a slow one leaves some to
/// others.
const SHARE_OF_CLIENT: usize = 2;

/// The budget of pieces of files.
pub(crate) static FILES: Budget = Budget::new(FILES_LIMIT);

/// The budget of bytes that wait for HTTP/2 clients.
pub(crate) static QUEUED: Budget = Budget::new(QUEUE_LIMIT);

/// A number of bytes that many share. Nobody waits for it: who gets nothing
/// makes do with little.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
}

/// Bytes of a budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: &'static Budget,
    bytes: usize,
    client: Option<Arc<Buffered>>,
}

/// Bytes that are in memory on their way to one client.
#[derive(Debug, Default)]
pub(crate) struct Buffered(AtomicUsize);

thread_local! {
    static CLIENT: RefCell<Option<Arc<Buffered>>> = const { RefCell::new(None) };
}

/// Has `poll` take what it takes of budgets for a client.
pub(crate) fn for_client<T>(client: &mut Option<Arc<Buffered>>, poll: impl FnOnce() -> T) -> T {
    // Moved and not cloned: each part of each response gets here, on all threads.
    let before = CLIENT.replace(client.take());
    let result = poll();
    *client = CLIENT.replace(before);
    result
}

impl Budget {
    const fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    /// Whether little is left.
    pub(crate) fn is_short(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.limit / 8 * 7
    }

    /// Takes so many bytes, if they are left to all and to the client that is polled
    /// for.
    pub(crate) fn take(&'static self, bytes: usize) -> Option<Share> {
        let client = CLIENT.with_borrow(Clone::clone);
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let of_client = client.as_ref().map(|client| client.0.fetch_add(bytes, Ordering::Relaxed));
        let share = Share { budget: self, bytes, client };
        let fits = |before: usize, limit| before.saturating_add(bytes) <= limit;
        let fits = fits(before, self.limit)
            && of_client.is_none_or(|before| fits(before, self.limit / SHARE_OF_CLIENT));
        // Dropped, it gives back what was too much.
        fits.then_some(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(client) = &self.client {
            client.0.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// Bytes that hold a value until the last of their clones and parts is dropped.
pub(crate) fn holding<T: Send + Sync + 'static>(bytes: Bytes, value: T) -> Bytes {
    struct Holding<T>(Bytes, T);

    impl<T> AsRef<[u8]> for Holding<T> {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    Bytes::from_owner(Holding(bytes, value))
}

#[cfg(test)]
mod tests {
    use super::{Budget, Buffered, for_client, holding};
    use bytes::Bytes;
    use std::sync::Arc;

    static BUDGET: Budget = Budget::new(10);
    static SHARED: Budget = Budget::new(10);

    #[test]
    fn a_client_leaves_half_to_others() {
        let [mut one, mut other] = [(); 2].map(|()| Some(Arc::new(Buffered::default())));
        let held = for_client(&mut one, || SHARED.take(5)).unwrap();
        assert!(for_client(&mut one, || SHARED.take(1)).is_none());
        assert!(for_client(&mut other, || SHARED.take(4)).is_some());
        assert!(SHARED.take(6).is_none());
        drop(held);
        assert!(for_client(&mut one, || SHARED.take(5)).is_some());
    }

    #[test]
    fn a_budget_is_given_back_with_the_last_part() {
        let share = BUDGET.take(6).unwrap();
        assert!(BUDGET.take(5).is_none());
        let mut bytes = holding(Bytes::from_static(b"abcdef"), share);
        let part = bytes.split_to(2);
        drop(bytes);
        assert!(BUDGET.take(5).is_none());
        assert_eq!(part, "ab");
        drop(part);
        assert!(BUDGET.take(10).is_some());
    }
}
