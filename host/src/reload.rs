//! Files that change while the host runs.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// How often to look whether a file has changed.
const POLL_PAUSE: Duration = Duration::from_secs(2);

/// SIGHUP, for any number of watches.
#[derive(Debug)]
pub struct Hangup(watch::Sender<()>);

impl Hangup {
    /// Nobody listens yet; see [`Hangup::listen`].
    #[expect(clippy::new_without_default, reason = "there is one per process")]
    pub fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    /// Has the watches made so far hear of SIGHUP, which ends nothing even if
    /// there are none.
    #[cfg_attr(not(unix), expect(clippy::unnecessary_wraps, reason = "as on Unix"))]
    pub fn listen(self) -> std::io::Result<()> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let mut signal = signal(SignalKind::hangup())?;
            tokio::spawn(async move {
                while signal.recv().await.is_some() {
                    // Nobody may be there to hear it.
                    let _ = self.0.send(());
                }
            });
        }
        Ok(())
    }
}

/// Watches files: whether any is another one, or has other content, and whether
/// someone says so by SIGHUP.
#[derive(Debug)]
pub struct Watch {
    files: Vec<PathBuf>,
    /// What the files were like; `None` if that does not matter.
    seen: Option<Vec<Stamp>>,
    hangup: watch::Receiver<()>,
}

/// By what a file is told from the one before it; nothing if it is not there.
#[derive(PartialEq, Eq, Debug)]
struct Stamp(Option<(Option<SystemTime>, u64, u64)>);

impl Stamp {
    fn of(file: &PathBuf) -> Self {
        // Links are followed: tools that renew certificates switch links.
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
    /// Watches `files` from now on. To miss no change, watch before the files
    /// are read for the first time.
    pub fn new(files: Vec<PathBuf>, hangup: &Hangup) -> Self {
        let seen = Some(files.iter().map(Stamp::of).collect());
        Self { files, seen, hangup: hangup.0.subscribe() }
    }

    /// Waits until a file has changed, or SIGHUP came. Can be dropped and
    /// called again without missing either.
    pub async fn changed(&mut self) {
        loop {
            tokio::select! {
                hangup = self.hangup.changed() => match hangup {
                    Ok(()) => self.again(),
                    // Nobody listens for the signal; files change all the same.
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

    /// Has the files change once more, to whoever waits: what was read of them
    /// was not good, and may be the next time.
    pub fn again(&mut self) {
        self.seen = None;
    }
}

/// Where a directory is far away, this takes its time.
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
        // Without a change, too, if someone says so.
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
