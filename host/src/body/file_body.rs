//! A stored object as an answer's body.

use crate::behind::store::full;
use crate::body::handover;
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

/// Bytes read from a file at a time. Each reader holds at most two such
/// pieces, one of them read ahead.
const READ_SIZE: usize = 256 * 1024;

/// `length` bytes of a file from `offset` on: at hand if they are few, else as
/// a stream.
pub(crate) fn open(file: File, offset: u64, length: u64) -> io::Result<WasiBody> {
    if length <= READ_SIZE as u64 {
        return Ok(full(read(&file, offset, length)?));
    }
    let file = Arc::new(file);
    Ok(FileBody { file, offset, left: length, reading: None }.boxed_unsync())
}

/// Reads a piece of a file.
fn read(mut file: &File, offset: u64, left: u64) -> io::Result<Bytes> {
    let size = left.min(READ_SIZE as u64);
    let mut bytes = Vec::with_capacity(READ_SIZE.min(usize::try_from(size).unwrap_or(READ_SIZE)));
    file.seek(SeekFrom::Start(offset))?;
    file.take(size).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == size { Ok(bytes.into()) } else { Err(shorter()) }
}

/// That a file has fewer bytes than it had: objects never change.
pub(crate) fn shorter() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it was")
}

/// A file on its way to a client. Where its bytes are to be read, one piece is
/// read ahead. No thread waits for a slow client.
struct FileBody {
    file: Arc<File>,
    /// Where the bytes begin that are not handed out.
    offset: u64,
    /// How many they are.
    left: u64,
    /// The bytes at `offset`.
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
            if let Some(stand_in) = handover::hand_over(&self.file, self.offset, self.left) {
                return self.advance(stand_in);
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
                tracing::error!("storage: reading: {error}");
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
