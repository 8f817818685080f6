//! What a connection is doing, which decides when it is closed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// Counts the requests of a connection and notes its writes.
#[derive(Debug)]
pub(crate) struct Activity {
    opened: Instant,
    requests: AtomicUsize,
    /// Whether the last write waits for the client to receive.
    blocked: AtomicBool,
    /// Bytes written so far.
    written: AtomicU64,
    /// Chunks of responses that HTTP/2 has queued.
    queued: AtomicUsize,
    /// When a request last ended or a byte was written, in milliseconds since
    /// `opened`.
    last: AtomicU64,
}

/// What a connection is doing.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// A request is in flight.
    Busy,
    /// There has been no request since then.
    Idle(Instant),
    /// A response waits for the client to receive it.
    Blocked,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            opened: Instant::now(),
            requests: AtomicUsize::new(0),
            blocked: AtomicBool::new(false),
            written: AtomicU64::new(0),
            queued: AtomicUsize::new(0),
            last: AtomicU64::new(0),
        }
    }

    /// Notes the result of a write.
    pub(crate) fn wrote(&self, written: &Poll<io::Result<usize>>) {
        self.blocked.store(written.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(written) = written {
            let bytes = written.as_ref().copied().unwrap_or_default() as u64;
            self.written.fetch_add(bytes, Ordering::Relaxed);
            self.touch();
        }
    }

    /// Bytes written so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Counts a chunk of a response that HTTP/2 has queued.
    pub(crate) fn queue(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that one has been written, or was dropped.
    pub(crate) fn unqueue(&self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
    }

    /// Chunks of responses that HTTP/2 has queued.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    fn touch(&self) {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Counts a request as in flight until the guard is dropped.
    pub(crate) fn begin_request(self: &Arc<Self>) -> RequestGuard {
        self.requests.fetch_add(1, Ordering::Relaxed);
        RequestGuard(Arc::clone(self))
    }

    /// What the connection is doing now.
    pub(crate) fn state(&self) -> State {
        let last = self.opened + Duration::from_millis(self.last.load(Ordering::Relaxed));
        if self.blocked.load(Ordering::Relaxed) {
            State::Blocked
        } else if self.requests.load(Ordering::Relaxed) > 0 {
            State::Busy
        } else {
            State::Idle(last)
        }
    }
}

/// A request that is in flight.
pub(crate) struct RequestGuard(Arc<Activity>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.touch();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{Activity, State};
    use std::sync::Arc;
    use std::task::Poll;

    #[test]
    fn states_of_a_connection() {
        let activity = Arc::new(Activity::new());
        assert!(matches!(activity.state(), State::Idle(_)));
        let (first, second) = (activity.begin_request(), activity.begin_request());
        drop(first);
        assert_eq!(activity.state(), State::Busy);
        activity.wrote(&Poll::Pending);
        drop(second);
        // Both requests are done, but a response is still being written.
        assert!(matches!(activity.state(), State::Blocked));
        activity.wrote(&Poll::Ready(Ok(1)));
        assert!(matches!(activity.state(), State::Idle(_)));
    }
}
