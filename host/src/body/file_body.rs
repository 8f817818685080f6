//! A file's content as the body of a response.

use crate::blocking::{self, Task};
use crate::body::budget::{FILES, Share, holding};
use crate::body::{full, handover, truncated};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
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
pub(crate) fn open(file: impl Into<Arc<File>>, offset: u64, length: u64) -> io::Result<WasiBody> {
    let file = file.into();
    if let Some(size) = usize::try_from(length).ok().filter(|size| *size <= READ_SIZE) {
        let share = FILES.take(size);
        if share.is_some() || size <= SMALL_READ_SIZE {
            return Ok(full(read(&file, offset, size, share)?));
        }
    }
    Ok(FileBody::new(file, offset, length).boxed_unsync())
}

/// A body of the bytes of several parts of files, one after the other. Bodies may share the
/// files.
pub(crate) fn open_all(parts: Vec<(Arc<File>, Range<u64>)>) -> io::Result<WasiBody> {
    let length = |range: &Range<u64>| range.end.saturating_sub(range.start);
    match <[_; 1]>::try_from(parts) {
        Ok([(file, range)]) => open(file, range.start, length(&range)),
        Err(parts) => {
            let bodies = parts
                .into_iter()
                .map(|(file, range)| FileBody::new(file, range.start, length(&range)));
            Ok(Chain(bodies.collect()).boxed_unsync())
        }
    }
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
    fn new(file: Arc<File>, offset: u64, left: u64) -> Self {
        Self { file, offset, left, reading: None, size: SMALL_READ_SIZE }
    }

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

/// Bodies that follow each other.
struct Chain(VecDeque<FileBody>);

impl Body for Chain {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            let Some(first) = self.0.front_mut() else { return Poll::Ready(None) };
            let frame = ready!(Pin::new(first).poll_frame(context));
            match frame {
                Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
                // What follows a part that cannot be read would be taken for it.
                Some(Err(error)) => {
                    self.0.clear();
                    return Poll::Ready(Some(Err(error)));
                }
                None => drop(self.0.pop_front()),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.iter().all(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.0.iter().fold(0_u64, |left, body| left.saturating_add(body.left));
        SizeHint::with_exact(left)
    }
}

#[cfg(test)]
mod tests {
    use super::{READ_SIZE, open_all};
    use http_body::Body as _;
    use http_body_util::BodyExt as _;
    use std::fs::File;
    use std::io::Write as _;
    use std::ops::Range;
    use std::sync::Arc;

    fn file(bytes: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Arc::new(file)
    }

    /// Parts of any length, of one file or of two.
    #[tokio::test]
    async fn parts_of_files_follow_each_other() {
        let bytes: Vec<u8> = (0..251).cycle().take(READ_SIZE * 3).collect();
        let other: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
        let (contents, large) = ([&bytes, &other], READ_SIZE as u64);
        let files = contents.map(|bytes| file(bytes));
        for parts in [
            &[][..],
            &[(0, 0..9)],
            &[(0, 0..large * 3)],
            &[(0, 7..8), (1, 5..9)],
            &[(0, 0..0), (1, 5..9), (0, 3..3)],
            &[(0, 1..large * 2 + 5), (1, 0..large), (0, large..large + 1)],
        ] {
            let part = |(file, range): &(usize, Range<u64>)| {
                let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
                contents[*file][start..end].to_vec()
            };
            let expected: Vec<u8> = parts.iter().flat_map(part).collect();
            let opened =
                parts.iter().map(|(file, range)| (Arc::clone(&files[*file]), range.clone()));
            let mut body = open_all(opened.collect()).unwrap();
            assert_eq!(body.size_hint().exact(), Some(expected.len() as u64), "{parts:?}");
            let mut found = Vec::new();
            while let Some(frame) = body.frame().await {
                found.extend(frame.unwrap().into_data().unwrap());
                let left = (expected.len() - found.len()) as u64;
                assert_eq!(body.size_hint().exact(), Some(left), "{parts:?}");
            }
            assert!(found == expected && body.is_end_stream(), "{parts:?}");
        }
    }

    /// A file that has become shorter: nothing of the next part takes the place of its bytes.
    #[tokio::test]
    async fn nothing_follows_a_part_that_is_cut_off() {
        let parts = vec![(file(b"short"), 0..9), (file(b"next"), 0..4)];
        let mut body = open_all(parts).unwrap();
        assert!(body.frame().await.unwrap().is_err());
        assert!(body.frame().await.is_none());
    }
}
