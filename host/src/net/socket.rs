//! A TCP connection below TLS: its first bytes can be peeked at to detect the
//! protocol, and reads can have a timeout.

use crate::body::handover::{self, FileSender, Handover};
use crate::net::activity::Activity;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// A TCP connection.
pub(crate) struct Socket {
    stream: TcpStream,
    /// The bytes that were peeked at.
    peeked: Vec<u8>,
    /// How many of them have been read since.
    consumed: usize,
    /// How long to wait for more bytes; `None` where hyper keeps the time.
    read_timeout: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    activity: Arc<Activity>,
    files: FileSender,
}

impl Socket {
    /// A socket whose reads fail after `read_timeout` without bytes.
    pub(crate) fn new(stream: TcpStream, read_timeout: Duration, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            peeked: Vec::new(),
            consumed: 0,
            read_timeout: Some(read_timeout),
            timer: None,
            activity,
            files: FileSender::default(),
        }
    }

    /// Changes how long reads wait for bytes; `None` is without a limit.
    pub(crate) fn set_read_timeout(&mut self, read_timeout: Option<Duration>) {
        self.read_timeout = read_timeout;
        self.timer = None;
    }

    /// Waits for more bytes and returns all that have been peeked at so far, at
    /// most `size` in all. If they are no more than before, the client has
    /// closed its side. Later reads return these bytes again.
    pub(crate) async fn peek(&mut self, size: usize) -> io::Result<&[u8]> {
        let mut more = vec![0; size.saturating_sub(self.peeked.len())];
        // Read from the connection, and not what was peeked at before.
        self.consumed = self.peeked.len();
        let read = self.read(&mut more).await;
        self.consumed = 0;
        let read = read?;
        self.peeked.extend_from_slice(&more[..read]);
        Ok(&self.peeked)
    }

    /// Where response bodies can hand files over to this socket. Only of use if
    /// what is written here goes to the client unchanged, so not below TLS.
    pub(crate) fn handover(&self) -> Arc<Handover> {
        self.files.handover()
    }

    /// The bytes that were peeked at so far.
    pub(crate) fn peeked(&self) -> &[u8] {
        &self.peeked
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.consumed < this.peeked.len() {
            let rest = &this.peeked[this.consumed..];
            let size = rest.len().min(buffer.remaining());
            buffer.put_slice(&rest[..size]);
            this.consumed += size;
            if this.consumed == this.peeked.len() {
                this.peeked = Vec::new();
                this.consumed = 0;
            }
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Ready(result) => {
                this.timer = None;
                Poll::Ready(result)
            }
            Poll::Pending => {
                let Some(timeout) = this.read_timeout else { return Poll::Pending };
                let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                timer.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let file = bytes.iter().position(handover::is_placeholder);
        let written = match file {
            Some(0) => this.files.poll_send(&this.stream, context, bytes[0].len()),
            // The bytes before the file go first.
            Some(file) => Pin::new(&mut this.stream).poll_write_vectored(context, &bytes[..file]),
            None => Pin::new(&mut this.stream).poll_write_vectored(context, bytes),
        };
        this.activity.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
