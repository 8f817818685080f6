//! The load on a server: which requests, and how many.

use crate::client::PushStyle;
use crate::content::BlobGenerator;
use crate::image::{Image, ImageGenerator};
use http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
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
    /// HEAD of blobs that the server does not have, each another one.
    Miss(Arc<BlobGenerator>),
    /// GET of these paths in turn, by this program's client.
    Fetch(Vec<String>),
    /// GET of a path, while so many other clients read the same slowly.
    FetchBeside(String, usize),
    /// GET of consecutive ranges of a blob, shared by all connections, as by a client that pulls
    /// one blob over several.
    Ranges {
        /// The blob's path.
        path: String,
        /// The size of a range.
        size: u64,
        /// The number of ranges.
        count: u64,
        /// The number of the next one.
        next: Arc<AtomicU64>,
    },
    /// Pushes of blobs that the server does not have.
    Push(Arc<BlobGenerator>, PushStyle),
    /// Pushes of images: HEAD of each layer, layers, configuration, manifest. Images may share
    /// layers; what the server has is not pushed again.
    PushImage(Arc<ImageGenerator>, PushStyle),
    /// Pushes of images, each to a repository of its own.
    PushNew(Arc<ImageGenerator>),
    /// Pushes of an image that the server has, under another tag each time.
    PushAgain(Arc<Image>, Arc<AtomicU64>),
    /// Moves one of this many tags after the other, by turns to two images that the server has.
    Tag([Arc<Image>; 2], usize, Arc<AtomicU64>),
}

impl Load {
    /// Whether it stores content on the server.
    pub(crate) fn writes(&self) -> bool {
        matches!(
            self,
            Self::Push(..)
                | Self::PushImage(..)
                | Self::PushNew(_)
                | Self::PushAgain(..)
                | Self::Tag(..)
        )
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
