//! A file's content as the body of a response.

use crate::blocking::{self, Task};
use crate::body::budget::{FILES, Share, holding};
use crate::body::{full, handover, truncated};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use wasmtime_wasi_http::{Error, WasiBody};

/// Bytes read from a file at a time. Each body holds at most two such pieces,
/// one of them read ahead.
///
/// Limit: bytes read of a file at once; test: `tiny_windows_are_bounded_and_closed`.
const READ_SIZE: usize = 256 * 1024;

/// The same where [`FILES`] is used up. Nothing is read ahead then.
///
/// Limit: bytes read of a file at once when clients do not take them; test: `tiny_windows_are_bounded_and_closed`.
const SMALL_READ_SIZE: usize = 16 * 1024;

/// A body of `length` bytes of a file from `offset` on: in memory if they are
/// few, otherwise streamed.
pub(crate) fn open(file: File, offset: u64, length: u64) -> io::Result<WasiBody> {
    if let Some(size) = usize::try_from(length).ok().filter(|size| *size <= READ_SIZE) {
        let share = FILES.take(size);
        if share.is_some() || size <= SMALL_READ_SIZE {
            return Ok(full(read(&file, offset, size, share)?));
        }
    }
    let file = Arc::new(file);
    let body = FileBody { file, offset, left: length, reading: None, size: SMALL_READ_SIZE };
    Ok(body.boxed_unsync())
}

/// Reads the next piece of a file. It holds its share of [`FILES`].
fn read(file: &File, offset: u64, size: usize, share: Option<Share>) -> io::Result<Bytes> {
    let bytes = roadstead_directory::read_at(file, offset, size)?;
    if bytes.len() != size {
        return Err(truncated());
    }
    Ok(match share {
        Some(share) => holding(bytes.into(), share),
        None => bytes.into(),
    })
}

/// A part of a file, handed over to the connection if it takes files, otherwise
/// read, with one piece read ahead. No thread waits for a slow client.
struct FileBody {
    file: Arc<File>,
    /// The position of the next frame.
    offset: u64,
    /// The bytes from there on.
    left: u64,
    /// Reads the piece at `offset`.
    reading: Option<Task<io::Result<Bytes>>>,
    /// How much is read next: twice as much each time, so that little is held for a
    /// client that takes nothing.
    size: usize,
}

impl FileBody {
    /// Starts to read the piece at `offset`: a large one, or a small one if
    /// `needed`.
    fn read(&mut self, needed: bool) {
        let size = usize::try_from(self.left).unwrap_or(READ_SIZE).min(self.size);
        self.size = (2 * self.size).min(READ_SIZE);
        let share = FILES.take(size);
        let size = if share.is_some() { size } else { size.min(SMALL_READ_SIZE) };
        if size > 0 && (needed || share.is_some()) {
            let (file, offset) = (Arc::clone(&self.file), self.offset);
            self.reading = Some(blocking::reads().run(move || read(&file, offset, size, share)));
        }
    }

    fn advance(&mut self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.offset += bytes.len() as u64;
        self.left -= bytes.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.reading.is_none() {
            if let Some(placeholder) = handover::hand_over(&self.file, self.offset, self.left) {
                return self.advance(placeholder);
            }
            self.read(true);
        }
        let Some(reading) = self.reading.as_mut() else { return Poll::Ready(None) };
        let piece = ready!(Pin::new(reading).poll(context)).map_err(io::Error::other);
        self.reading = None;
        match piece.flatten() {
            Ok(bytes) => {
                let frame = self.advance(bytes);
                self.read(false);
                frame
            }
            Err(error) => {
                tracing::error!("storage: cannot read: {error}");
                self.left = 0;
                Poll::Ready(Some(Err(Error::InternalError(None))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
