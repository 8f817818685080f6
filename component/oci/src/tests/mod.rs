//! Tests that span several files: random input for all parsers, and tables of
//! manifests.
//!
//! The parsers must not panic, must accept what an independent reading of the
//! specifications accepts, and what they accept must survive being written and
//! read again.

mod manifest_parts;
mod manifest_properties;
mod manifest_tables;
mod random;
mod range_properties;
mod samples;
mod spec_regexp;
mod text_properties;
