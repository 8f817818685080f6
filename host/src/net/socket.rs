//! A connection's bytes, before and below TLS: what was read to find out what a
//! client speaks is read again, and a client that pauses too long is not waited
//! for.

use crate::body::handover::{self, Handover, Outbox};
use crate::net::connection::Activity;
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
    /// What was read already, and how much of it was read again.
    first: Vec<u8>,
    again: usize,
    /// How long to wait for more bytes; without it, others see to that.
    patience: Option<Duration>,
    pause: Option<Pin<Box<Sleep>>>,
    activity: Arc<Activity>,
    outbox: Outbox,
}

impl Socket {
    /// A socket that waits for bytes for no longer than `patience`.
    pub(crate) fn new(stream: TcpStream, patience: Duration, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            first: Vec::new(),
            again: 0,
            patience: Some(patience),
            pause: None,
            activity,
            outbox: Outbox::default(),
        }
    }

    /// Changes how long to wait for bytes; `None` is without a limit.
    pub(crate) fn set_patience(&mut self, patience: Option<Duration>) {
        self.patience = patience;
        self.pause = None;
    }

    /// Reads more of what comes first, at most up to `size` bytes in all, and
    /// gives all of it so far; no more than before is the end. It will be read
    /// again.
    pub(crate) async fn look(&mut self, size: usize) -> io::Result<&[u8]> {
        let mut more = vec![0; size.saturating_sub(self.first.len())];
        // What was looked at is not to be read from here.
        self.again = self.first.len();
        let read = self.read(&mut more).await;
        self.again = 0;
        let read = read?;
        self.first.extend_from_slice(&more[..read]);
        Ok(&self.first)
    }

    /// To which files may be handed over, if what is written here is written to
    /// the client as it is.
    pub(crate) fn handover(&self) -> Arc<Handover> {
        self.outbox.handover()
    }

    /// What was looked at so far.
    pub(crate) fn first(&self) -> &[u8] {
        &self.first
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.again < this.first.len() {
            let rest = &this.first[this.again..];
            let size = rest.len().min(buffer.remaining());
            buffer.put_slice(&rest[..size]);
            this.again += size;
            if this.again == this.first.len() {
                this.first = Vec::new();
                this.again = 0;
            }
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Ready(result) => {
                this.pause = None;
                Poll::Ready(result)
            }
            Poll::Pending => {
                let Some(patience) = this.patience else { return Poll::Pending };
                let pause =
                    this.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                pause.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
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
        let file = bytes.iter().position(handover::stands_in);
        let written = match file {
            Some(0) => this.outbox.poll_send(&this.stream, context, bytes[0].len()),
            // What comes before the file.
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
