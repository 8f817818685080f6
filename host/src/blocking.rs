//! Threads for work that blocks on a disk.
//!
//! Each kind of work has a pool of its own, so that no number of stuck syncs
//! takes the threads that reads need. Some threads of a pool are started with the
//! host and never end: where the system allows no more, work waits for these.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Limit: threads that read from the directory; test: `stuck_writes_leave_the_reads_their_threads`.
const READERS: usize = 256;

/// Limit: threads that write and sync; test: `stuck_writes_leave_the_reads_their_threads`.
const WRITERS: usize = 256;

/// Limit: threads that verify passwords and read changed files; test: `threads_are_limited`.
const OTHERS: usize = 16;

/// Threads of each pool that are started with the host and never end.
const KEPT: usize = 2;

/// How long any other thread waits for more work before it ends.
///
/// Limit: time for which a thread waits for work before it ends; test: none, it would take as long.
const KEEP_TIME: Duration = Duration::from_secs(10);

/// Pieces of work that may wait for a thread that is stuck: with the default of
/// `REGISTRY_HTTP_MAXREQUESTS`, requests whose writes wait leave a quarter of the
/// turns to others. More are refused with 503.
///
/// Limit: operations that wait for a stuck disk; test: `a_pool_that_is_stuck_refuses_more`.
const WAITING: usize = 512;

/// How long the first of them must have waited before more are refused.
///
/// Limit: time after which operations that wait for a disk are refused; test: `a_pool_that_is_stuck_refuses_more`.
const STUCK: Duration = Duration::from_secs(5);

/// Limit: operations that wait for a thread of one pool; test: `a_pool_that_is_stuck_refuses_more`.
const QUEUE: usize = 16 * 1024;

static READS: Pool = Pool::new("read", READERS);
static WRITES: Pool = Pool::new("write", WRITERS);
static OTHER: Pool = Pool::new("work", OTHERS);

/// For work that reads from the storage directory.
pub(crate) fn reads() -> &'static Pool {
    &READS
}

/// For work that writes to the storage directory.
pub(crate) fn writes() -> &'static Pool {
    &WRITES
}

/// For everything else that blocks.
pub(crate) fn other() -> &'static Pool {
    &OTHER
}

/// Starts the threads that never end.
///
/// # Errors
/// When the system allows no more threads.
pub(crate) fn start() -> io::Result<()> {
    [reads(), writes(), other()].into_iter().try_for_each(Pool::start)
}

/// Threads for one kind of work.
pub(crate) struct Pool {
    name: &'static str,
    /// The most threads.
    limit: usize,
    state: Mutex<State>,
    added: Condvar,
}

struct State {
    queue: VecDeque<Job>,
    threads: usize,
    /// Threads that wait for work.
    idle: usize,
}

struct Job {
    queued: Instant,
    work: Box<dyn FnOnce() + Send>,
}

impl Pool {
    const fn new(name: &'static str, limit: usize) -> Self {
        let state = State { queue: VecDeque::new(), threads: 0, idle: 0 };
        Self { name, limit, state: Mutex::new(state), added: Condvar::new() }
    }

    /// Runs `work` on a thread of the pool, even if the result is dropped.
    pub(crate) fn run<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Task<T> {
        let (sender, receiver) = oneshot::channel();
        let work = Box::new(move || {
            // The result is of no use to whoever has gone.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
        });
        // Without a place in the queue, the sender is dropped.
        if self.enqueue(Job { queued: Instant::now(), work })
            && let Err(error) = self.spawn()
        {
            self.not_started(&error);
        }
        Task(receiver)
    }

    /// Adds a job to the queue, unless that is full. Returns whether a thread is
    /// to be started for it, which is counted already.
    fn enqueue(&self, job: Job) -> bool {
        let mut state = self.lock();
        let stuck = state.queue.front().is_some_and(|first| first.queued.elapsed() >= STUCK);
        if state.queue.len() >= if stuck { WAITING } else { QUEUE } {
            return false;
        }
        state.queue.push_back(job);
        self.added.notify_one();
        let start = state.idle < state.queue.len() && state.threads < self.limit;
        state.threads += usize::from(start);
        start
    }

    /// Starts a thread that is counted already.
    fn spawn(&'static self) -> io::Result<()> {
        let thread = thread::Builder::new().name(self.name.to_owned());
        thread.spawn(|| self.work()).map(drop)
    }

    fn not_started(&self, error: &io::Error) {
        let left = {
            let mut state = self.lock();
            state.threads -= 1;
            if state.threads == 0 {
                // Nobody would ever take them.
                state.queue.clear();
            }
            state.threads
        };
        tracing::warn!(
            "cannot start a thread: {error}; {left} do the work; raise the limit of threads \
             (ulimit -u, TasksMax, pids.max)"
        );
    }

    fn start(&'static self) -> io::Result<()> {
        while self.lock().threads < KEPT {
            self.lock().threads += 1;
            self.spawn().inspect_err(|_| self.lock().threads -= 1)?;
        }
        Ok(())
    }

    /// What a thread does until it ends.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                (job.work)();
                state = self.lock();
                continue;
            }
            state.idle += 1;
            let waited = self.added.wait_timeout(state, KEEP_TIME);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.queue.is_empty() && state.threads > KEPT {
                state.threads -= 1;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Work runs without it, so a panic leaves the state consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work that is done or waits for a thread.
#[derive(Debug)]
pub(crate) struct Task<T>(oneshot::Receiver<Result<T, Box<dyn Any + Send>>>);

impl<T> Future for Task<T> {
    type Output = Result<T, Lost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|result| match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) => Err(Lost::Panicked),
            Err(_) => Err(Lost::Refused),
        })
    }
}

/// Why there is no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lost {
    /// Too much other work waits for a thread. It was not begun.
    Refused,
    /// It panicked, which was logged.
    Panicked,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "too many operations wait for the disk",
            Self::Panicked => "an operation panicked",
        })
    }
}

impl std::error::Error for Lost {}

#[cfg(test)]
mod tests {
    use super::{Job, KEPT, Lost, Pool, QUEUE, STUCK, WAITING, WRITERS, reads, writes};
    use std::collections::HashSet;
    use std::sync::mpsc::channel;
    use std::sync::{Arc, Barrier, Mutex};
    use std::thread;
    use std::time::Instant;

    #[tokio::test]
    async fn work_has_a_result_and_a_panic_is_one() {
        static POOL: Pool = Pool::new("test", 1);
        assert_eq!(POOL.run(|| 7).await, Ok(7));
        assert_eq!(POOL.run(|| panic!("on purpose")).await, Err::<(), _>(Lost::Panicked));
        assert_eq!(POOL.run(|| 8).await, Ok(8), "the thread goes on");
        assert_eq!(POOL.lock().threads, 1);
    }

    /// As many syncs as there are threads hang; reads go on.
    #[tokio::test]
    async fn stuck_writes_leave_the_reads_their_threads() {
        let (end, ended) = channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        let syncs: Vec<_> = (0..WRITERS + 100)
            .map(|_| {
                let ended = Arc::clone(&ended);
                writes().run(move || ended.lock().unwrap().recv().unwrap_err())
            })
            .collect();
        assert_eq!(writes().lock().threads, WRITERS);
        assert_eq!(reads().run(|| "read").await, Ok("read"));
        drop(end);
        for sync in syncs {
            sync.await.unwrap();
        }
    }

    #[tokio::test]
    async fn threads_are_limited() {
        static POOL: Pool = Pool::new("test", 3);
        let together = Arc::new(Barrier::new(3));
        let tasks: Vec<_> = (0..30)
            .map(|_| {
                let together = Arc::clone(&together);
                POOL.run(move || {
                    together.wait();
                    thread::current().id()
                })
            })
            .collect();
        let mut threads = HashSet::new();
        for task in tasks {
            threads.insert(task.await.unwrap());
        }
        assert_eq!(threads.len(), 3);
    }

    #[tokio::test]
    async fn a_pool_that_is_stuck_refuses_more() {
        static POOL: Pool = Pool::new("test", 1);
        let (end, ended) = channel::<()>();
        let stuck = POOL.run(move || ended.recv());
        while !POOL.lock().queue.is_empty() {
            thread::yield_now();
        }
        // Many may wait for a moment, and fewer if nothing moves.
        let mut waiting: Vec<_> = (0..QUEUE).map(|_| POOL.run(|| ())).collect();
        assert_eq!(POOL.run(|| ()).await, Err(Lost::Refused));
        let rest = waiting.split_off(WAITING);
        POOL.lock().queue.truncate(WAITING);
        POOL.lock().queue[0].queued = Instant::now().checked_sub(STUCK).unwrap();
        for lost in rest {
            assert_eq!(lost.await, Err(Lost::Refused));
        }
        assert_eq!(POOL.run(|| ()).await, Err(Lost::Refused));
        drop(end);
        stuck.await.unwrap().unwrap_err();
        for task in waiting {
            assert_eq!(task.await, Ok(()));
        }
    }

    /// As when the system allows no thread: what is there does the work, and
    /// without any, work is refused and does not wait for ever.
    #[tokio::test]
    async fn without_threads_work_is_done_or_refused() {
        static KEPT_ONES: Pool = Pool::new("test", 9);
        static NONE: Pool = Pool::new("test", 1);
        KEPT_ONES.start().unwrap();
        KEPT_ONES.start().unwrap();
        assert_eq!(KEPT_ONES.lock().threads, KEPT);
        let refused = std::io::Error::from(std::io::ErrorKind::WouldBlock);
        KEPT_ONES.lock().threads += 1;
        KEPT_ONES.not_started(&refused);
        assert_eq!(KEPT_ONES.run(|| 7).await, Ok(7));

        let (sender, receiver) = channel();
        let work = Box::new(move || sender.send(()).unwrap());
        assert!(NONE.enqueue(Job { queued: Instant::now(), work }));
        NONE.not_started(&refused);
        receiver.recv().unwrap_err();
    }
}
