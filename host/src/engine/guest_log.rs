//! Copies the component's standard error to the host's log, line by line.

use roadstead_bridge::log;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

/// Longest line in bytes; longer ones are logged in pieces.
///
/// Limit: bytes of a line that the component logs; test: none, longer ones are cut
/// into pieces.
const LINE_LIMIT: usize = 8 * 1024;

/// Logs what a component writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuestLog;

impl IsTerminal for GuestLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestLog {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Lines(Vec::new()))
    }
}

/// The bytes of an incomplete line.
struct Lines(Vec<u8>);

impl Lines {
    fn log(&mut self) {
        let line = String::from_utf8_lossy(&self.0);
        match log::parse(line.trim_end()) {
            (_, "") => {}
            (log::Level::Error, line) => tracing::error!("{line}"),
            (log::Level::Warning, line) => tracing::warn!("{line}"),
            (log::Level::Info, line) => tracing::info!("{line}"),
            (log::Level::Debug, line) => tracing::debug!("{line}"),
        }
        self.0.clear();
    }
}

impl AsyncWrite for Lines {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        for &byte in bytes {
            self.0.push(byte);
            if byte == b'\n' || self.0.len() >= LINE_LIMIT {
                self.log();
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.log();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.log();
    }
}
