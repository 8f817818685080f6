//! Parts of files that go to a connection without passing through this process.
//!
//! A body is bytes, and hyper writes them to the connection in its own time and
//! in order. So a file's body yields a stand-in for its bytes, of their length,
//! and notes here which part of which file is meant; the connection's socket
//! knows a stand-in by its address, and has the kernel send the file's bytes in
//! its place (`sendfile`). Only bodies that are polled within [`Handover::scope`]
//! do so, which is where an answer is written to a connection of plain HTTP/1.1:
//! there, what a body yields is what is written next.

use crate::body::file_body::shorter;
use bytes::Bytes;
use rustix::fs::Advice;
use rustix::io::ReadWriteFlags;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes that one call of the kernel sends at most. A connection takes about as
/// many at a time, and others wait meanwhile if they are in memory.
const PIECE: usize = 2 * 1024 * 1024;

/// Bytes after which a connection that never waits lets others go first.
const TURN: usize = 4 * 1024 * 1024;

/// Bytes that are read ahead where a disk has to be waited for.
const AHEAD: u64 = 8 * 1024 * 1024;

/// What stands for the bytes of files. Nobody reads it.
static STAND_IN: [u8; PIECE] = [0; PIECE];

/// Bytes that are copied at a time where the kernel cannot send a file's bytes
/// by itself.
const COPY: usize = 256 * 1024;

tokio::task_local! {
    static CONNECTION: Arc<Handover>;
}

/// The parts of files that a connection's answers still consist of, in order.
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
    /// Calls `poll`, within which files may be handed over to this connection.
    pub(crate) fn scope<T>(self: &Arc<Self>, poll: impl FnOnce() -> T) -> T {
        CONNECTION.sync_scope(Arc::clone(self), poll)
    }

    /// The next part to be sent, of at most `limit` bytes.
    fn next(&self, limit: usize) -> Option<Part> {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let part = parts.front()?;
        Some(Part { length: part.length.min(limit), ..part.clone() })
    }

    /// Notes that so many bytes of the next part have been sent.
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

/// Hands the bytes of a file from `offset` on over to the connection that is
/// being written to, at most [`PIECE`] of `left`, and gives what stands for
/// them. Nothing where bytes have to be read.
pub(crate) fn hand_over(file: &Arc<File>, offset: u64, left: u64) -> Option<Bytes> {
    let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
    let part = Part { file: Arc::clone(file), offset, length };
    let push = |connection: &Arc<Handover>| {
        connection.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(part);
    };
    CONNECTION.try_with(push).ok()?;
    Some(Bytes::from_static(&STAND_IN[..length]))
}

/// Whether these bytes stand for those of a file.
pub(crate) fn stands_in(bytes: &IoSlice<'_>) -> bool {
    STAND_IN.as_ptr_range().contains(&bytes.as_ptr())
}

impl Part {
    /// Whether its first and its last byte are in memory, and so probably what
    /// is between. Where the system cannot tell, they are not.
    fn in_memory(&self) -> bool {
        let last = self.offset + self.length.saturating_sub(1) as u64;
        [self.offset, last].into_iter().all(|offset| {
            let mut byte = [0];
            let byte = &mut [IoSliceMut::new(&mut byte)];
            rustix::io::preadv2(&self.file, byte, offset, ReadWriteFlags::NOWAIT) == Ok(1)
        })
    }

    /// Has the disk begin to read what comes next. Without it, it reads little
    /// at a time.
    fn read_ahead(&self) {
        let ahead = NonZeroU64::new(AHEAD);
        // Only advice.
        let _ = rustix::fs::fadvise(&self.file, self.offset, ahead, Advice::WillNeed);
    }

    /// Sends as much of it as the connection takes now. May wait for a disk.
    fn send(&self, to: impl AsFd) -> io::Result<usize> {
        let mut offset = self.offset;
        match rustix::fs::sendfile(&to, &self.file, Some(&mut offset), self.length) {
            Ok(0) => Err(shorter()),
            Ok(count) => Ok(count),
            // Not every file system can.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => self.copy(to),
            Err(error) => Err(error.into()),
        }
    }

    fn copy(&self, to: impl AsFd) -> io::Result<usize> {
        let mut bytes = vec![0; self.length.min(COPY)];
        match rustix::io::pread(&self.file, &mut bytes, self.offset)? {
            0 => Err(shorter()),
            count => Ok(rustix::io::write(to, &bytes[..count])?),
        }
    }
}

/// A connection's end of [`Handover`].
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    handover: Arc<Handover>,
    /// The connection, for threads that may wait for a disk.
    socket: Option<Arc<OwnedFd>>,
    sending: Option<JoinHandle<io::Result<usize>>>,
    /// Bytes that were sent since others could go.
    turn: usize,
}

impl Outbox {
    /// What answers hand files over to.
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
        if self.turn >= TURN {
            self.turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
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
                return Poll::Ready(Err(io::Error::other("no file for what stands for one")));
            };
            let in_memory = part.in_memory();
            let tried = stream.try_io(Interest::WRITABLE, || {
                if in_memory { part.send(stream).map(Some) } else { writable(stream) }
            });
            match tried {
                Ok(Some(count)) => {
                    self.handover.sent(count);
                    self.turn += count;
                    return Poll::Ready(Ok(count));
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.turn = 0;
                    ready!(stream.poll_write_ready(context))?;
                    continue;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            // The disk has to be waited for, where no connection waits.
            let socket = if let Some(socket) = &self.socket {
                Arc::clone(socket)
            } else {
                let socket = Arc::new(stream.as_fd().try_clone_to_owned()?);
                self.socket.insert(socket).clone()
            };
            self.sending = Some(spawn_blocking(move || {
                part.read_ahead();
                part.send(socket.as_fd())
            }));
        }
    }
}

/// [`io::ErrorKind::WouldBlock`] if a connection takes no bytes now. A thread
/// that sends cannot tell tokio so.
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
    use super::{Handover, PIECE, Part, hand_over, stands_in};
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
        let stand_in = connection.scope(|| hand_over(&one, 7, 3)).unwrap();
        assert_eq!(stand_in.len(), 3);
        assert!(stands_in(&IoSlice::new(&stand_in)) && !stands_in(&IoSlice::new(&[0; 3])));
        connection.scope(|| hand_over(&two, 0, 3)).unwrap();
        let (mut client, server) = UnixStream::pair().unwrap();
        let server = OwnedFd::from(server);
        for limit in [2, 99, 99] {
            let count = connection.next(limit).unwrap().send(&server).unwrap();
            connection.sent(count);
        }
        assert!(connection.next(1).is_none());
        drop(server);
        let mut came = String::new();
        client.read_to_string(&mut came).unwrap();
        assert_eq!(came, "789abc");
    }

    #[test]
    fn what_was_just_written_is_in_memory() {
        let part = Part { file: file(b"0123456789"), offset: 2, length: 8 };
        // Not every file system can tell.
        let told = rustix::io::preadv2(
            &part.file,
            &mut [std::io::IoSliceMut::new(&mut [0])],
            0,
            ReadWriteFlags::NOWAIT,
        );
        assert_eq!(part.in_memory(), told.is_ok());
        assert!(!Part { length: 9, ..part }.in_memory(), "beyond the end");
    }

    #[test]
    fn a_piece_has_a_limit() {
        let connection = Arc::new(Handover::default());
        let piece = connection.scope(|| hand_over(&file(b""), 0, u64::MAX)).unwrap();
        assert_eq!(piece.len(), PIECE);
    }

    #[test]
    fn what_the_kernel_does_not_send_is_copied() {
        let part = Part { file: file(b"0123456789"), offset: 2, length: 3 };
        let (mut client, server) = UnixStream::pair().unwrap();
        assert_eq!(part.copy(server).unwrap(), 3);
        let mut came = String::new();
        client.read_to_string(&mut came).unwrap();
        assert_eq!(came, "234");
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
