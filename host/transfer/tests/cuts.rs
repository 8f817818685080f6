//! Connections that are cut off.
