//! Watches files that may change while the host runs.

use crate::blocking;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// How often files are checked for changes.
///
/// Limit: time between looks for changed files; test: `renewed_files`.
const POLL_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause before files that could not be used are read again, though
/// nothing about them has changed: each one is twice as long as the one before.
///
/// Limit: longest pause before files that could not be used are read again; test: none, it would take as long.
const RETRY_PAUSE: Duration = Duration::from_mins(1);

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
    /// The files as last seen.
    seen: Vec<Stamp>,
    /// When the files count as changed, whatever they look like.
    again: Option<Instant>,
    /// The pause before the next such time.
    pause: Duration,
    hangup: watch::Receiver<()>,
}

/// Distinguishes a file from its previous version; `None` if there is no file.
#[derive(PartialEq, Eq, Debug)]
struct Stamp(Option<Metadata>);

#[derive(PartialEq, Eq, Debug)]
struct Metadata {
    modified: Option<SystemTime>,
    length: u64,
    /// Its identity, who may read it, and when any of all this changed last.
    #[cfg(unix)]
    rest: (u64, u64, u32, i64, i64),
}

impl Stamp {
    fn of(file: &PathBuf) -> Self {
        // Follows symbolic links, which tools that renew certificates replace.
        Self(fs::metadata(file).ok().map(|file| {
            #[cfg(unix)]
            use std::os::unix::fs::MetadataExt as _;
            Metadata {
                modified: file.modified().ok(),
                length: file.len(),
                #[cfg(unix)]
                rest: (file.dev(), file.ino(), file.mode(), file.ctime(), file.ctime_nsec()),
            }
        }))
    }
}

impl Watch {
    /// Watches `files` from now on. Create it before the files are first read, so
    /// that no change is missed.
    pub fn new(files: Vec<PathBuf>, hangup: &Hangup) -> Self {
        let seen = files.iter().map(Stamp::of).collect();
        let hangup = hangup.0.subscribe();
        Self { files, seen, again: None, pause: POLL_PAUSE, hangup }
    }

    /// Waits for a change, for SIGHUP, or for the time that [`Self::again`] set.
    /// Cancel safe.
    pub async fn changed(&mut self) {
        loop {
            tokio::select! {
                hangup = self.hangup.changed() => match hangup {
                    Ok(()) => self.again = Some(Instant::now()),
                    // Nobody forwards the signal; files change all the same.
                    Err(_) => tokio::time::sleep(POLL_PAUSE).await,
                },
                () = tokio::time::sleep(POLL_PAUSE) => {}
            }
            let now = stamps(self.files.clone()).await;
            let changed = now.is_some_and(|now| {
                let changed = now != self.seen;
                self.seen = now;
                changed
            });
            if changed {
                self.pause = POLL_PAUSE;
            }
            if changed || self.again.is_some_and(|again| again <= Instant::now()) {
                self.again = None;
                return;
            }
        }
    }

    /// Has the files count as changed after a pause, even if they look the same:
    /// they could not be used. It may be what they depend on that is mended, such
    /// as the permissions of a directory, or a mount.
    pub fn again(&mut self) {
        self.again = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(RETRY_PAUSE);
    }
}

/// Off the async threads: a network file system may be slow. `None` if it could
/// not be looked at them.
async fn stamps(files: Vec<PathBuf>) -> Option<Vec<Stamp>> {
    blocking::other().run(move || files.iter().map(Stamp::of).collect()).await.ok()
}

#[cfg(test)]
mod tests {
    use super::{Hangup, POLL_PAUSE, RETRY_PAUSE, Stamp, Watch};
    use std::fs;
    use std::time::Instant;

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
        assert_eq!(watch.seen, [Stamp::of(&file)]);
    }

    /// Whatever makes a file readable is a change of it.
    #[cfg(unix)]
    #[test]
    fn a_mode_belongs_to_the_stamp() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o600);
        let before = Stamp::of(&path);
        mode(0o644);
        assert_ne!(Stamp::of(&path), before);
        // So does the time of the last change, which is as fine as the system's
        // clock: without it, this would not end.
        mode(0o600);
        while Stamp::of(&path) == before {
            mode(0o600);
        }
    }

    /// Files that could not be used are read again and again, ever more rarely,
    /// and soon again when they change.
    #[tokio::test]
    async fn what_could_not_be_used_is_tried_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let hangup = Hangup::new();
        let mut watch = Watch::new(vec![file.path().to_owned()], &hangup);
        watch.again();
        watch.changed().await;
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let before = Instant::now();
            watch.again();
            pauses.push(watch.again.unwrap() - before >= watch.pause / 2);
        }
        assert_eq!(watch.pause, RETRY_PAUSE);
        assert_eq!(pauses, [true; 6]);
        fs::write(file.path(), "changed").unwrap();
        watch.changed().await;
        assert_eq!((watch.pause, watch.again), (POLL_PAUSE, None));
    }
}
