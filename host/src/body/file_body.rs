//! A file's content as the body of a response.

use crate::body::{full, handover, truncated};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::task::{JoinHandle, spawn_blocking};
use wasmtime_wasi_http::{Error, WasiBody};

/// Bytes read from a file at a time. Each body holds at most two such pieces,
/// one of them read ahead.
///
/// Limit: bytes read from a file at a time; test: `one_patch`.
const READ_SIZE: usize = 256 * 1024;

/// A body of `length` bytes of a file from `offset` on: in memory if they are
/// few, otherwise streamed.
pub(crate) fn open(file: File, offset: u64, length: u64) -> io::Result<WasiBody> {
    if length <= READ_SIZE as u64 {
        return Ok(full(read(&file, offset, length)?));
    }
    let file = Arc::new(file);
    Ok(FileBody { file, offset, left: length, reading: None }.boxed_unsync())
}

/// Reads the next piece of a file.
fn read(mut file: &File, offset: u64, left: u64) -> io::Result<Bytes> {
    let size = left.min(READ_SIZE as u64);
    let mut bytes = Vec::with_capacity(READ_SIZE.min(usize::try_from(size).unwrap_or(READ_SIZE)));
    file.seek(SeekFrom::Start(offset))?;
    file.take(size).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == size { Ok(bytes.into()) } else { Err(truncated()) }
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
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    fn read_ahead(&mut self) {
        if self.left > 0 {
            let (file, offset, left) = (Arc::clone(&self.file), self.offset, self.left);
            self.reading = Some(spawn_blocking(move || read(&file, offset, left)));
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
            self.read_ahead();
        }
        let Some(reading) = self.reading.as_mut() else { return Poll::Ready(None) };
        let piece = ready!(Pin::new(reading).poll(context)).map_err(io::Error::other);
        self.reading = None;
        match piece.flatten() {
            Ok(bytes) => {
                let frame = self.advance(bytes);
                self.read_ahead();
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
