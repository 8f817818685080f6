//! The component's bytes: what they import, and that every host runs the same.
