//! Everything that the native host and the component say to each other.
