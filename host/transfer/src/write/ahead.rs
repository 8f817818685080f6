//! A file that goes to the disk while it is written: the sync at its end finds little left, and
//! does not begin with what the kernel has kept of gigabytes.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

/// How many bytes are written between two syncs, if the first has ended by then.
///
/// Limit: bytes of an archive that are written between two syncs; test: none, slow disks get more.
const STEP: u64 = 32 * 1024 * 1024;

/// What of a file is needed here.
pub(super) trait Sync: Write + Sized + Send + 'static {
    /// The same file, for another thread.
    fn again(&self) -> io::Result<Self>;

    /// Waits until the disk has the bytes.
    fn sync(&self) -> io::Result<()>;
}

impl Sync for File {
    fn again(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A file, and the thread that syncs it.
#[derive(Debug)]
pub(super) struct Ahead<F> {
    file: F,
    /// Bytes since a sync was asked for.
    written: u64,
    /// Asks for one.
    ask: Option<SyncSender<()>>,
    syncing: Option<JoinHandle<io::Result<()>>>,
}

impl<F: Sync> Ahead<F> {
    /// # Errors
    /// When there is no thread for it.
    pub(super) fn new(file: F) -> io::Result<Self> {
        let (ask, asked) = sync_channel(1);
        let same = file.again()?;
        let sync = move || {
            while asked.recv().is_ok() {
                same.sync()?;
            }
            Ok(())
        };
        let syncing = thread::Builder::new().name("sync".to_owned()).spawn(sync)?;
        Ok(Self { file, written: 0, ask: Some(ask), syncing: Some(syncing) })
    }

    /// Waits until the disk has all bytes.
    ///
    /// # Errors
    /// When it has not, or a sync before failed: the kernel says so once, and not to a later one.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.stop()?;
        self.file.sync()
    }
}

impl<F> Ahead<F> {
    /// Waits for the thread. Returns why a sync has failed.
    fn stop(&mut self) -> io::Result<()> {
        drop(self.ask.take());
        let Some(thread) = self.syncing.take() else { return Ok(()) };
        thread.join().map_err(|_| io::Error::other("the thread that syncs has failed"))?
    }
}

impl<F> Drop for Ahead<F> {
    /// The file is closed, and its lock released, on return.
    fn drop(&mut self) {
        // Whoever gives it up has another reason.
        let _ = self.stop();
    }
}

impl<F: Sync> Write for Ahead<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written >= STEP
            && let Some(ask) = &self.ask
        {
            match ask.try_send(()) {
                Ok(()) => self.written = 0,
                // It still syncs what was written before.
                Err(TrySendError::Full(())) => {}
                Err(TrySendError::Disconnected(())) => self.stop()?,
            }
        }
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::{Ahead, STEP, Sync};
    use std::io::{self, Write};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Mutex, PoisonError};

    /// Counts bytes, and syncs when it is told how that ends.
    #[derive(Clone)]
    struct Told {
        bytes: Arc<AtomicU64>,
        begun: Sender<u64>,
        outcomes: Arc<Mutex<Receiver<io::Result<()>>>>,
    }

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.bytes.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sync for Told {
        fn again(&self) -> io::Result<Self> {
            Ok(self.clone())
        }

        fn sync(&self) -> io::Result<()> {
            self.begun.send(self.bytes.load(Ordering::SeqCst)).unwrap();
            let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            outcomes.recv().unwrap()
        }
    }

    fn file() -> (Ahead<Told>, Receiver<u64>, Sender<io::Result<()>>) {
        let ((begun, begins), (outcome, outcomes)) = (channel(), channel());
        let outcomes = Arc::new(Mutex::new(outcomes));
        let told = Told { bytes: Arc::default(), begun, outcomes };
        (Ahead::new(told).unwrap(), begins, outcome)
    }

    /// Writes so many steps.
    fn steps(file: &mut Ahead<Told>, count: u64) -> io::Result<()> {
        let piece = vec![0; usize::try_from(STEP / 8).unwrap()];
        (0..count * 8).try_for_each(|_| file.write_all(&piece))
    }

    #[test]
    fn syncs_while_others_are_written() {
        let (mut file, begins, outcome) = file();
        steps(&mut file, 1).unwrap();
        assert!(begins.try_recv().is_err());
        file.write_all(b"x").unwrap();
        assert!(begins.recv().unwrap() >= STEP);
        // Writes do not wait for it, and ask for one more.
        steps(&mut file, 10).unwrap();
        assert!(begins.try_recv().is_err());
        outcome.send(Ok(())).unwrap();
        assert_eq!(begins.recv().unwrap(), 11 * STEP + 1);
        outcome.send(Ok(())).unwrap();
        // The last one is that of the end.
        outcome.send(Ok(())).unwrap();
        file.end().unwrap();
        assert_eq!(begins.iter().collect::<Vec<_>>(), [11 * STEP + 1]);
    }

    #[test]
    fn a_file_that_is_given_up_is_closed() {
        let (mut file, begins, outcome) = file();
        steps(&mut file, 1).unwrap();
        file.write_all(b"x").unwrap();
        begins.recv().unwrap();
        let bytes = Arc::clone(&file.file.bytes);
        let told = std::thread::spawn(move || outcome.send(Ok(())));
        drop(file);
        assert_eq!(Arc::strong_count(&bytes), 1);
        told.join().unwrap().unwrap();
    }

    #[test]
    fn a_sync_that_fails_is_not_forgotten() {
        // At the end, and before.
        for more in [0, 20] {
            let (mut file, begins, outcome) = file();
            outcome.send(Err(io::ErrorKind::QuotaExceeded.into())).unwrap();
            drop(outcome);
            steps(&mut file, 1).unwrap();
            file.write_all(b"x").unwrap();
            begins.recv().unwrap();
            // The thread ends soon.
            let mut failed = Ok(());
            while more > 0 && failed.is_ok() {
                failed = steps(&mut file, more);
            }
            let failed = failed.and_then(|()| file.end().map(drop));
            assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
        }
    }
}
