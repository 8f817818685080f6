//! How much memory an instance has taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasmtime::ResourceLimiter;

/// The load of one instance.
#[derive(Debug, Default)]
pub(super) struct Load(AtomicUsize);

impl Load {
    /// Bytes of its memory.
    pub(super) fn memory(&self) -> usize {
        self.0.load(Ordering::Relaxed)
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
            self.0.0.fetch_add(desired.saturating_sub(current), Ordering::Relaxed);
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
    use super::{Load, MemoryWatch};
    use std::sync::Arc;
    use wasmtime::ResourceLimiter as _;

    #[test]
    fn an_instance_that_has_grown_is_large() {
        let load = Arc::new(Load::default());
        let mut watch = MemoryWatch(Arc::clone(&load));
        assert!(watch.memory_growing(0, 10, None).unwrap());
        assert!(!watch.memory_growing(10, 20, Some(15)).unwrap());
        assert_eq!(load.memory(), 10);
        assert!(watch.memory_growing(10, 20, Some(20)).unwrap());
        assert_eq!(load.memory(), 20);
    }
}
