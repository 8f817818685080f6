//! The component that is built into programs of the native host.

/// The component: the same bytes that run under every other host.
pub static COMPONENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/component.wasm"));
