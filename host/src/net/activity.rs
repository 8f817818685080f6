//! What a connection is doing, which decides when it is closed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// Counts the requests of a connection and notes its writes.
pub(crate) struct Activity {
    opened: Instant,
    requests: AtomicUsize,
    /// Whether the last write waits for the client to receive.
    blocked: AtomicBool,
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
    /// The client has received nothing of a response since then.
    Blocked(Instant),
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            opened: Instant::now(),
            requests: AtomicUsize::new(0),
            blocked: AtomicBool::new(false),
            last: AtomicU64::new(0),
        }
    }

    /// Notes the result of a write.
    pub(crate) fn wrote(&self, written: &Poll<io::Result<usize>>) {
        self.blocked.store(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            self.touch();
        }
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
            State::Blocked(last)
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
        assert!(matches!(activity.state(), State::Blocked(_)));
        activity.wrote(&Poll::Ready(Ok(1)));
        assert!(matches!(activity.state(), State::Idle(_)));
    }
}
