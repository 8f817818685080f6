//! Writes lines on a thread of its own, so that whoever logs never waits, and
//! never notices that they cannot be written: the disk is full, a pipe's reader
//! is gone, or nobody reads the pipe.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// Bytes of lines that wait to be written. More are dropped and counted.
///
/// Limit: bytes of log lines that wait for standard error; test: `what_was_dropped_is_counted`.
pub(super) const BUFFER: usize = 1024 * 1024;

/// How long the thread waits for more lines after the first one: to be woken for each would cost
/// more than to write them.
///
/// Limit: time for which a log line waits for others; test: none, it would take as long.
const GATHER: Duration = Duration::from_millis(5);

/// How long to wait after a failure before the same bytes are tried again.
///
/// Limit: pause before log lines that could not be written are tried again; test: `what_was_dropped_is_counted`.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Takes lines, and has them written in order.
#[derive(Clone)]
pub(super) struct LogWriter(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when lines were added, and when all were written.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Whether the thread writes lines that it has taken.
    writing: bool,
    /// Whether somebody waits for what there is.
    flushing: bool,
    /// Lines that there was no room for, and that were not reported yet.
    unreported: u64,
    /// All lines that there was no room for.
    dropped: u64,
    /// The thread that writes. Its own lines are few and always have room.
    thread: Option<ThreadId>,
}

impl LogWriter {
    /// Starts the thread. It calls `report` with the number of dropped lines,
    /// once lines can be written again.
    pub(super) fn start(
        sink: impl Write + Send + 'static,
        report: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || own.write(sink, &report))?;
        Ok(Self(shared))
    }

    /// Adds a line, or counts it as dropped if more than `room` bytes would wait.
    pub(super) fn append(&self, line: &[u8], room: usize) {
        let mut state = self.0.lock();
        if state.waiting.len().saturating_add(line.len()) > room
            && state.thread != Some(thread::current().id())
        {
            state.unreported += 1;
            state.dropped += 1;
            return;
        }
        let is_first = state.waiting.is_empty();
        state.waiting.extend_from_slice(line);
        drop(state);
        // The thread takes all that there is.
        if is_first {
            self.0.changed.notify_all();
        }
    }

    /// How many lines there was no room for.
    pub(super) fn dropped(&self) -> u64 {
        self.0.lock().dropped
    }

    /// Waits until everything is written, for at most `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let mut state = self.0.lock();
        state.flushing = true;
        let busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        let waited = self.0.changed.wait_timeout_while(state, limit, busy);
        waited.unwrap_or_else(PoisonError::into_inner).0.flushing = false;
    }
}

impl Shared {
    fn write(&self, mut sink: impl Write, report: &impl Fn(u64)) {
        self.lock().thread = Some(thread::current().id());
        let mut lines = Vec::new();
        loop {
            self.take(&mut lines);
            write_all(&mut sink, &lines);
            let dropped = {
                let mut state = self.lock();
                state.writing = false;
                self.changed.notify_all();
                std::mem::take(&mut state.unreported)
            };
            if dropped > 0 {
                report(dropped);
            }
        }
    }

    /// Waits for lines, and for others to follow, and takes all that there are.
    fn take(&self, lines: &mut Vec<u8>) {
        lines.clear();
        let empty = |state: &mut State| state.waiting.is_empty();
        let state = self.changed.wait_while(self.lock(), empty);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if !state.flushing {
            drop(state);
            thread::sleep(GATHER);
            state = self.lock();
        }
        std::mem::swap(&mut state.waiting, lines);
        state.writing = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds it can leave it inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all bytes, however long that takes: whatever fails may work again, when
/// the disk has space or the pipe a reader. The first lines of an outage are kept
/// that way, and the last ones dropped.
fn write_all(sink: &mut impl Write, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(count) if count > 0 => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => thread::sleep(RETRY_PAUSE),
        }
    }
}

/// Standard error, without the lock that every other user of it would wait for
/// while a write is blocked.
pub(super) fn standard_error() -> Box<dyn Write + Send> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd as _;
        if let Ok(own) = io::stderr().as_fd().try_clone_to_owned() {
            return Box::new(std::fs::File::from(own));
        }
    }
    Box::new(io::stderr())
}

#[cfg(test)]
mod tests {
    use super::{BUFFER, LogWriter};
    use std::io::{self, Write};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    /// Long enough for anything; a test that fails waits for it.
    const LONG: Duration = Duration::from_mins(1);

    /// Does with each write what it is told, and hands the bytes on.
    struct Told {
        steps: Receiver<io::Result<usize>>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.steps.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            let _ = self.written.send(bytes[..count].to_vec());
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_fails_is_tried_again_from_the_same_byte() {
        let ((steps, next), (written, seen)) = (channel(), channel());
        let log = LogWriter::start(Told { steps: next, written }, |_| {}).unwrap();
        log.append(b"one\n", BUFFER);
        for step in [
            Ok(1),
            Err(io::ErrorKind::StorageFull.into()),
            Err(io::ErrorKind::BrokenPipe.into()),
            Ok(0),
            Err(io::ErrorKind::Interrupted.into()),
            Ok(9),
        ] {
            steps.send(step).unwrap();
        }
        log.flush(LONG);
        assert_eq!(seen.try_iter().collect::<Vec<_>>().concat(), b"one\n");
    }

    #[test]
    fn whoever_logs_does_not_wait_and_hears_of_what_was_dropped() {
        let ((steps, next), (written, seen), (report, reports)) = (channel(), channel(), channel());
        let reported = move |dropped| report.send(dropped).unwrap();
        let log = LogWriter::start(Told { steps: next, written }, reported).unwrap();
        log.append(b"first\n", BUFFER);
        // It takes this line, and is blocked.
        while !log.0.lock().writing {
            std::thread::yield_now();
        }
        let line = [b'x'; 1024];
        for _ in 0..BUFFER / line.len() + 5 {
            log.append(&line, BUFFER);
        }
        log.flush(Duration::ZERO);
        assert!(seen.try_recv().is_err(), "nothing is written");
        drop(steps);
        assert_eq!(reports.recv_timeout(LONG), Ok(5));
        log.flush(LONG);
        let all = seen.try_iter().collect::<Vec<_>>().concat();
        assert_eq!(all.len(), "first\n".len() + BUFFER);
    }
}
