//! Watches files that may change while the host runs.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// How often files are checked for changes.
///
/// Limit: time between looks for changed files; test: `renewed_files`.
const POLL_PAUSE: Duration = Duration::from_secs(2);

/// SIGHUP, for any number of watches.
#[derive(Debug)]
pub struct Hangup(watch::Sender<()>);

impl Hangup {
    /// Does not listen yet; see [`Hangup::listen`].
    #[expect(clippy::new_without_default, reason = "there is one per process")]
    pub fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    /// Forwards SIGHUP to the watches made so far. Without any, the signal is
    /// ignored.
    #[cfg_attr(not(unix), expect(clippy::unnecessary_wraps, reason = "as on Unix"))]
    pub fn listen(self) -> std::io::Result<()> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let mut signal = signal(SignalKind::hangup())?;
            tokio::spawn(async move {
                while signal.recv().await.is_some() {
                    // Fails when there are no watches.
                    let _ = self.0.send(());
                }
            });
        }
        Ok(())
    }
}

/// Watches files for replacement, for modification, and for SIGHUP.
#[derive(Debug)]
pub struct Watch {
    files: Vec<PathBuf>,
    /// The files as last seen; `None` if the next check counts as a change.
    seen: Option<Vec<Stamp>>,
    hangup: watch::Receiver<()>,
}

/// Distinguishes a file from its previous version; `None` if there is no file.
#[derive(PartialEq, Eq, Debug)]
struct Stamp(Option<(Option<SystemTime>, u64, u64)>);

impl Stamp {
    fn of(file: &PathBuf) -> Self {
        // Follows symbolic links, which tools that renew certificates replace.
        Self(fs::metadata(file).ok().map(|metadata| {
            #[cfg(unix)]
            let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
            #[cfg(not(unix))]
            let inode = 0;
            (metadata.modified().ok(), metadata.len(), inode)
        }))
    }
}

impl Watch {
    /// Watches `files` from now on. Create it before the files are first read, so
    /// that no change is missed.
    pub fn new(files: Vec<PathBuf>, hangup: &Hangup) -> Self {
        let seen = Some(files.iter().map(Stamp::of).collect());
        Self { files, seen, hangup: hangup.0.subscribe() }
    }

    /// Waits for a change or SIGHUP. Cancel safe.
    pub async fn changed(&mut self) {
        loop {
            tokio::select! {
                hangup = self.hangup.changed() => match hangup {
                    Ok(()) => self.again(),
                    // Nobody forwards the signal; files change all the same.
                    Err(_) => tokio::time::sleep(POLL_PAUSE).await,
                },
                () = tokio::time::sleep(POLL_PAUSE) => {}
            }
            let now = stamps(self.files.clone()).await;
            if self.seen.as_ref() != Some(&now) {
                self.seen = Some(now);
                return;
            }
        }
    }

    /// Makes the next check count as a change: the files could not be used, and
    /// are to be read again.
    pub fn again(&mut self) {
        self.seen = None;
    }
}

/// Off the async threads: a network file system may be slow.
async fn stamps(files: Vec<PathBuf>) -> Vec<Stamp> {
    let stamps = tokio::task::spawn_blocking(move || files.iter().map(Stamp::of).collect());
    stamps.await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Hangup, Stamp, Watch};
    use std::fs;

    #[tokio::test]
    async fn changes_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let hangup = Hangup::new();
        let mut watch = Watch::new(vec![file.clone()], &hangup);
        fs::write(&file, "made").unwrap();
        watch.changed().await;
        fs::write(directory.path().join("new"), "else").unwrap();
        fs::rename(directory.path().join("new"), &file).unwrap();
        watch.changed().await;
        fs::remove_file(&file).unwrap();
        watch.changed().await;
        // SIGHUP counts as a change.
        hangup.0.send(()).unwrap();
        watch.changed().await;
        watch.again();
        watch.changed().await;
        drop(hangup);
        fs::write(&file, "made again").unwrap();
        watch.changed().await;
        assert_eq!(watch.seen, Some(vec![Stamp::of(&file)]));
    }
}
