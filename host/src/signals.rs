//! Signals: those that end the host, and the one that changes what it logs.

use crate::log;

/// The signals that end the host.
#[cfg(unix)]
pub(crate) struct Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal);

#[cfg(unix)]
impl Signals {
    /// Listens for SIGTERM and SIGINT.
    pub(crate) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    /// Waits for the next of them.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// The signal that ends the host.
#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    /// Listens for Ctrl-C.
    #[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        // An error means that it cannot be received at all.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Logs at `debug` after SIGUSR1, and as the settings say after the next one.
#[cfg(unix)]
pub(crate) fn toggle_debug_by_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut signal = signal(SignalKind::user_defined1())?;
    tokio::spawn(async move {
        while signal.recv().await.is_some() {
            if let Some(level) = log::toggle_debug() {
                let level = format!("{level:?}").to_ascii_lowercase();
                tracing::warn!(target: log::UNLIMITED, "SIGUSR1: the log's level is {level} now");
            }
        }
    });
    Ok(())
}

/// There is no such signal.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
pub(crate) fn toggle_debug_by_signal() -> std::io::Result<()> {
    Ok(())
}
