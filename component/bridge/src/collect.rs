//! Garbage collection, slice by slice. The component does a slice for each
//! request to its route; the native host sends such requests itself, and is
//! known by the header [`OVERRIDES`], which no client can send (see
//! [`crate::client`]). The response's body is a [`Progress`].

use http::HeaderName;
use serde::{Deserialize, Serialize};

/// The header of the host's own requests: [`Overrides`] as JSON.
pub const OVERRIDES: HeaderName = HeaderName::from_static("x-roadstead-collect");

/// The path of the route.
pub const PATH: &str = "/v2/_roadstead/collect";

/// What the host orders otherwise than the settings say. Times are in
/// milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Overrides {
    /// How long a client may rely on an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<u64>,
    /// How long condemned content is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<u64>,
    /// How long ago the last run must have begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
    /// How old a run may become; half of the grace time by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid: Option<u64>,
    /// How long the tombstone of a removed blob stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled: Option<u64>,
    /// Operations of the storage that a slice may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u32>,
    /// Whether nobody else uses the storage, so that nothing is waited for.
    pub exclusive: bool,
}

/// The body of a request. Without it, a run begins if one is due.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SliceRequest {
    /// The run that goes on, as 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Whether nothing is to be condemned, given back or removed.
    pub dry_run: bool,
}

/// How far a run has come after a slice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum Progress {
    /// The run goes on with another slice.
    Running {
        /// The run, as 32 hexadecimal digits.
        run: String,
        /// What it does: `manifests`, `blobs`, `links`, `removal` or `end`.
        stage: String,
        /// How much of this stage is done, from 0 to 100.
        percent: u8,
        /// Operations of the storage that the slice took.
        operations: u32,
        /// Milliseconds after which the next slice can do something.
        wait: u64,
    },
    /// The run has ended.
    Done {
        /// What it has done.
        report: Report,
    },
    /// Another run goes on, or the last one began less than the interval ago.
    NotDue {
        /// Seconds until it may be asked again.
        seconds: u64,
    },
}

/// What a run has done, or would do.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The run, as 32 hexadecimal digits.
    pub run: String,
    /// Seconds since 1970, by the clock of the storage.
    pub begun: u64,
    /// Whether it only looked.
    pub dry_run: bool,
    /// Repositories that were read.
    pub repositories: u64,
    /// Manifests in them.
    pub manifests: u64,
    /// Blobs in the storage.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that nothing refers to, seen for the first time or not long ago.
    pub sighted: u64,
    /// Their bytes.
    pub sighted_bytes: u64,
    /// Blobs that this run condemned.
    pub condemned: u64,
    /// Their bytes.
    pub condemned_bytes: u64,
    /// Blobs that are condemned and kept for now.
    pub kept: u64,
    /// Their bytes.
    pub kept_bytes: u64,
    /// Blobs that were condemned and are needed again.
    pub given_back: u64,
    /// Blobs that were removed.
    pub removed: u64,
    /// Their bytes: what came back.
    pub removed_bytes: u64,
    /// Operations of the storage.
    pub operations: u64,
}
