//! The component that is built into this binary.

/// The component that this binary was built with: the same bytes that run
/// under every other host.
pub static COMPONENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/component.wasm"));
