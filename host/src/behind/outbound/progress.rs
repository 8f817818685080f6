//! The progress of a request's body.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::time::Instant;
use wasmtime_wasi_http::{Error, WasiBody};

/// The time of a body's last frame, and whether it was aborted.
#[derive(Debug)]
pub(super) struct Progress {
    last: Mutex<Instant>,
    aborted: AtomicBool,
}

impl Default for Progress {
    fn default() -> Self {
        Self { last: Mutex::new(Instant::now()), aborted: AtomicBool::new(false) }
    }
}

impl Progress {
    /// When it last had a frame, an error or its end.
    pub(super) fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Whether the body ended with an error.
    pub(super) fn aborted(&self) -> bool {
        self.aborted.load(Ordering::Relaxed)
    }
}

/// A body that is passed on unchanged and notes its progress.
#[derive(Debug)]
pub(super) struct ObservedBody {
    pub(super) body: WasiBody,
    pub(super) progress: Arc<Progress>,
}

impl Body for ObservedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(frame) = &frame {
            self.progress.touch();
            if matches!(frame, Some(Err(_))) {
                self.progress.aborted.store(true, Ordering::Relaxed);
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
