//! [`handover`](super) by `sendfile`.
//!
//! A body consists of bytes, which hyper writes to the connection in order and
//! when it sees fit. So a file's body yields a placeholder of the same length in
//! place of the file's bytes, and notes here which part of which file is meant.
//! The connection's socket recognises a placeholder by its address, and has the
//! kernel send the file's bytes instead. Only bodies that are polled within
//! [`Handover::scope`] do so, which is where a response is written to a connection
//! of plain HTTP/1.1: there, what a body yields is what is written next.

use crate::blocking::{self, Task};
use crate::body::truncated;
use bytes::Bytes;
use rustix::fs::Advice;
use rustix::io::ReadWriteFlags;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Most bytes that one system call sends. A connection accepts about as many at
/// once, and other tasks of the thread wait meanwhile.
///
/// Limit: bytes that one system call sends; test: `a_piece_has_a_limit`.
const PIECE: usize = 2 * 1024 * 1024;

/// Bytes after which a connection that never blocks yields to other tasks.
///
/// Limit: bytes after which a connection lets others run; test:
/// `answers_follow_one_another`.
const YIELD_AFTER: usize = 2 * 1024 * 1024;

/// Bytes that are read ahead when the disk has to be read.
///
/// Limit: bytes of a file that are read ahead; test:
/// `fresh_files_are_in_the_page_cache`.
const READ_AHEAD: u64 = 8 * 1024 * 1024;

/// Takes the place of the bytes of files; its content is never used.
static PLACEHOLDER: [u8; PIECE] = [0; PIECE];

/// Bytes that are copied at a time where `sendfile` is not supported.
const COPY: usize = 256 * 1024;

tokio::task_local! {
    static CONNECTION: Arc<Handover>;
}

/// The parts of files that a connection still has to send, in order.
#[derive(Debug, Default)]
pub(crate) struct Handover(Mutex<VecDeque<Part>>);

/// A part of a file.
#[derive(Clone, Debug)]
struct Part {
    file: Arc<File>,
    offset: u64,
    length: usize,
}

impl Handover {
    /// Calls `poll`, during which files can be handed over to this connection.
    pub(crate) fn scope<T>(self: &Arc<Self>, poll: impl FnOnce() -> T) -> T {
        CONNECTION.sync_scope(Arc::clone(self), poll)
    }

    /// The next part to send, of at most `limit` bytes.
    fn next(&self, limit: usize) -> Option<Part> {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let part = parts.front()?;
        Some(Part { length: part.length.min(limit), ..part.clone() })
    }

    /// Notes that `count` bytes of the next part have been sent.
    fn sent(&self, count: usize) {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = parts.front_mut() {
            part.offset += count as u64;
            part.length = part.length.saturating_sub(count);
            if part.length == 0 {
                parts.pop_front();
            }
        }
    }
}

/// Hands the bytes of a file from `offset` on over to the current connection, at
/// most [`PIECE`] of `left`, and returns the placeholder. `None` where the bytes
/// have to be read instead.
pub(crate) fn hand_over(file: &Arc<File>, offset: u64, left: u64) -> Option<Bytes> {
    let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
    let part = Part { file: Arc::clone(file), offset, length };
    let push = |connection: &Arc<Handover>| {
        connection.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(part);
    };
    CONNECTION.try_with(push).ok()?;
    Some(Bytes::from_static(&PLACEHOLDER[..length]))
}

/// Whether these bytes are a placeholder.
pub(crate) fn is_placeholder(bytes: &IoSlice<'_>) -> bool {
    PLACEHOLDER.as_ptr_range().contains(&bytes.as_ptr())
}

impl Part {
    /// Whether its first and last byte are in the page cache, and so probably all
    /// between. `false` where the file system cannot tell.
    fn in_memory(&self) -> bool {
        let last = self.offset + self.length.saturating_sub(1) as u64;
        [self.offset, last].into_iter().all(|offset| {
            let mut byte = [0];
            let byte = &mut [IoSliceMut::new(&mut byte)];
            rustix::io::preadv2(&self.file, byte, offset, ReadWriteFlags::NOWAIT) == Ok(1)
        })
    }

    /// Starts reading the next bytes from the disk. The default read-ahead is
    /// small.
    fn read_ahead(&self) {
        let ahead = NonZeroU64::new(READ_AHEAD);
        // A failure costs speed only.
        let _ = rustix::fs::fadvise(&self.file, self.offset, ahead, Advice::WillNeed);
    }

    /// Sends as much as the connection accepts now. May block on the disk.
    fn send(&self, to: impl AsFd) -> io::Result<usize> {
        let mut offset = self.offset;
        match rustix::fs::sendfile(&to, &self.file, Some(&mut offset), self.length) {
            Ok(0) => Err(truncated()),
            Ok(count) => Ok(count),
            // Not every file system supports it.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => self.copy(to),
            Err(error) => Err(error.into()),
        }
    }

    fn copy(&self, to: impl AsFd) -> io::Result<usize> {
        let mut bytes = vec![0; self.length.min(COPY)];
        match rustix::io::pread(&self.file, &mut bytes, self.offset)? {
            0 => Err(truncated()),
            count => Ok(rustix::io::write(to, &bytes[..count])?),
        }
    }
}

/// Sends the files that were handed over to a connection.
#[derive(Debug, Default)]
pub(crate) struct FileSender {
    handover: Arc<Handover>,
    /// A duplicate of the connection, for threads that may block on the disk.
    socket: Option<Arc<OwnedFd>>,
    sending: Option<Task<io::Result<usize>>>,
    /// Bytes sent since it last blocked or yielded.
    since_yield: usize,
}

impl FileSender {
    /// Where response bodies hand files over.
    pub(crate) fn handover(&self) -> Arc<Handover> {
        Arc::clone(&self.handover)
    }

    /// Sends at most `limit` bytes of the next part to its connection.
    pub(crate) fn poll_send(
        &mut self,
        stream: &TcpStream,
        context: &mut Context<'_>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        if self.since_yield >= YIELD_AFTER {
            self.since_yield = 0;
            // Wakes this task after tokio has polled its I/O driver. After `wake_by_ref`, the task
            // would run again at once, and the driver be polled only after 61 polls of tasks.
            if pin!(tokio::task::yield_now()).poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        loop {
            if let Some(sending) = &mut self.sending {
                let sent = ready!(Pin::new(sending).poll(context)).map_err(io::Error::other);
                self.sending = None;
                match sent.flatten() {
                    Ok(count) => {
                        self.handover.sent(count);
                        return Poll::Ready(Ok(count));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            let Some(part) = self.handover.next(limit) else {
                return Poll::Ready(Err(io::Error::other("a placeholder without a file")));
            };
            let in_memory = part.in_memory();
            let tried = stream.try_io(Interest::WRITABLE, || {
                if in_memory { part.send(stream).map(Some) } else { writable(stream) }
            });
            match tried {
                Ok(Some(count)) => {
                    self.handover.sent(count);
                    self.since_yield += count;
                    return Poll::Ready(Ok(count));
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.since_yield = 0;
                    ready!(stream.poll_write_ready(context))?;
                    continue;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            // Read from the disk on a thread that may block.
            let socket = if let Some(socket) = &self.socket {
                Arc::clone(socket)
            } else {
                let socket = Arc::new(stream.as_fd().try_clone_to_owned()?);
                self.socket.insert(socket).clone()
            };
            self.sending = Some(blocking::reads().run(move || {
                part.read_ahead();
                part.send(socket.as_fd())
            }));
        }
    }
}

/// Fails with [`io::ErrorKind::WouldBlock`] if the connection accepts no bytes
/// now: the thread that sends cannot tell tokio.
fn writable(stream: &TcpStream) -> io::Result<Option<usize>> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut [PollFd::new(stream, PollFlags::OUT)], Some(&now))? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::{Handover, PIECE, Part, hand_over, is_placeholder};
    use rustix::io::ReadWriteFlags;
    use std::fs::File;
    use std::io::{IoSlice, Read as _, Write as _};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    fn file(bytes: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Arc::new(file)
    }

    #[test]
    fn parts_are_sent_in_order() {
        let connection = Arc::new(Handover::default());
        let (one, two) = (file(b"0123456789"), file(b"abc"));
        assert_eq!(hand_over(&one, 0, 10), None, "to no connection");
        let placeholder = connection.scope(|| hand_over(&one, 7, 3)).unwrap();
        assert_eq!(placeholder.len(), 3);
        assert!(
            is_placeholder(&IoSlice::new(&placeholder)) && !is_placeholder(&IoSlice::new(&[0; 3]))
        );
        connection.scope(|| hand_over(&two, 0, 3)).unwrap();
        let (mut client, server) = UnixStream::pair().unwrap();
        let server = OwnedFd::from(server);
        for limit in [2, 99, 99] {
            let count = connection.next(limit).unwrap().send(&server).unwrap();
            connection.sent(count);
        }
        assert!(connection.next(1).is_none());
        drop(server);
        let mut received = String::new();
        client.read_to_string(&mut received).unwrap();
        assert_eq!(received, "789abc");
    }

    #[test]
    fn fresh_files_are_in_the_page_cache() {
        let part = Part { file: file(b"0123456789"), offset: 2, length: 8 };
        // Not every file system can tell.
        let supported = rustix::io::preadv2(
            &part.file,
            &mut [std::io::IoSliceMut::new(&mut [0])],
            0,
            ReadWriteFlags::NOWAIT,
        );
        assert_eq!(part.in_memory(), supported.is_ok());
        assert!(!Part { length: 9, ..part }.in_memory(), "beyond the end");
    }

    #[test]
    fn a_piece_has_a_limit() {
        let connection = Arc::new(Handover::default());
        let piece = connection.scope(|| hand_over(&file(b""), 0, u64::MAX)).unwrap();
        assert_eq!(piece.len(), PIECE);
    }

    #[test]
    fn files_without_sendfile_are_copied() {
        let part = Part { file: file(b"0123456789"), offset: 2, length: 3 };
        let (mut client, server) = UnixStream::pair().unwrap();
        assert_eq!(part.copy(server).unwrap(), 3);
        let mut received = String::new();
        client.read_to_string(&mut received).unwrap();
        assert_eq!(received, "234");
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let part = Part { file: file(b"01"), offset: 2, length: 3 };
        let (_client, server) = UnixStream::pair().unwrap();
        let server = OwnedFd::from(server);
        for sent in [part.send(&server), part.copy(&server)] {
            assert_eq!(sent.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
        }
    }
}
