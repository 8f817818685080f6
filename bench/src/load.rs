//! The load on a server: which requests, and how many.

use crate::client::PushStyle;
use crate::content::BlobGenerator;
use crate::image::ImageGenerator;
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;

/// The requests that a row sends.
#[derive(Clone, Debug)]
pub(crate) enum Load {
    /// GET by `wrk`, with a range if there is one.
    Get {
        /// The path to get.
        path: String,
        /// The value of a `Range` header.
        range: Option<&'static str>,
        /// Whether each request has a unique query, so that none is answered from
        /// a cache.
        unique: bool,
    },
    /// HEAD; the response must have a status.
    Head {
        /// The path to request.
        path: String,
        /// The required status.
        status: StatusCode,
    },
    /// GET of these paths in turn, by this program's client.
    Fetch(Vec<String>),
    /// Pushes of blobs that the server does not have.
    Push(Arc<BlobGenerator>, PushStyle),
    /// Pushes of images: HEAD of each layer, layers, configuration, manifest.
    PushImage(Arc<ImageGenerator>, PushStyle),
}

impl Load {
    /// Whether it stores content on the server.
    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::Push(..) | Self::PushImage(..))
    }
}

/// The concurrency and duration of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// The number of connections, each with one request at a time.
    pub(crate) concurrency: usize,
    /// The time after which no operation begins.
    pub(crate) duration: Duration,
    /// The most operations of each connection.
    pub(crate) operations: u64,
}
