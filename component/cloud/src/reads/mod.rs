//! Reads for clients: few requests, and those at the same time that do not
//! depend on each other.

mod blobs;
mod content;
mod manifests;
mod recent;

pub(crate) use recent::RecentManifests;
