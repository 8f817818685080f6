//! What an instance has to carry: the requests whose responses are in its memory,
//! and that memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use wasmtime::ResourceLimiter;

/// Bytes of memory from which on an instance gets no more requests, and is
/// replaced once it has answered those that it has. Memory does not shrink, and an
/// instance without any left traps.
///
/// Limit: memory from which on an instance gets no more requests; test: large_manifests_at_once_end_no_instance.
const LARGE: usize = 128 * 1024 * 1024;

/// The load of one instance.
#[derive(Debug, Default)]
pub(super) struct Load {
    requests: AtomicUsize,
    memory: AtomicUsize,
}

impl Load {
    /// Its requests, until their responses have left its memory.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether it has grown too much to be given more.
    pub(super) fn is_large(&self) -> bool {
        self.memory.load(Ordering::Relaxed) >= LARGE
    }
}

/// A request as part of the load of the instance that accepted it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ticket(Arc<OnceLock<Counted>>);

impl Ticket {
    /// Counts the request as one of this instance, until the ticket is dropped.
    pub(super) fn bind(&self, load: &Arc<Load>) {
        self.0.get_or_init(|| {
            load.requests.fetch_add(1, Ordering::Relaxed);
            Counted(Arc::clone(load))
        });
    }
}

#[derive(Debug)]
struct Counted(Arc<Load>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Notes how an instance's memory grows.
pub(super) struct MemoryWatch(pub(super) Arc<Load>);

impl ResourceLimiter for MemoryWatch {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = maximum.is_none_or(|maximum| desired <= maximum);
        if allowed {
            self.0.memory.fetch_add(desired.saturating_sub(current), Ordering::Relaxed);
        }
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }
}

#[cfg(test)]
mod tests {
    use super::{LARGE, Load, MemoryWatch, Ticket};
    use std::sync::Arc;
    use wasmtime::ResourceLimiter as _;

    #[test]
    fn requests_are_counted_while_their_tickets_are_held() {
        let load = Arc::new(Load::default());
        let ticket = Ticket::default();
        ticket.clone().bind(&load);
        ticket.bind(&load);
        assert_eq!(load.requests(), 1);
        drop(ticket);
        assert_eq!(load.requests(), 0);
    }

    #[test]
    fn an_instance_that_has_grown_is_large() {
        let load = Arc::new(Load::default());
        let mut watch = MemoryWatch(Arc::clone(&load));
        assert!(watch.memory_growing(0, LARGE / 2, None).unwrap());
        assert!(!watch.memory_growing(LARGE / 2, LARGE, Some(LARGE / 2)).unwrap());
        assert!(!load.is_large());
        assert!(watch.memory_growing(LARGE / 2, LARGE, Some(LARGE)).unwrap());
        assert!(load.is_large());
    }
}
