//! Runs the streams of an HTTP/2 connection, and resets those whose clients do not
//! take their responses.

use crate::body::budget::{FILES, QUEUED};
use crate::net::response_body::Progress;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How long after the limit a client may still be seen to take its response: the
/// process may have been suspended.
///
/// Limit: time that an HTTP/2 response gets after a stall, if its process was suspended; test: none, it would take as long.
const GRACE: Duration = if cfg!(test) { Duration::from_millis(10) } else { Duration::from_secs(5) };

/// How long a client may take nothing of a response while others find no room in the
/// budgets of memory that it has a part of.
///
/// Limit: stall of an HTTP/2 response while memory for responses is short; test: `unread_responses_make_room`.
const SHORT_STALL: Duration =
    if cfg!(test) { Duration::from_millis(10) } else { Duration::from_secs(2) };

tokio::task_local! {
    static PROGRESS: Arc<Progress>;
}

/// The progress of the stream that is being polled.
pub(crate) fn progress() -> Arc<Progress> {
    PROGRESS.try_with(Arc::clone).unwrap_or_else(|_| Arc::new(Progress::new()))
}

/// Runs streams as tasks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    /// How long a client may take nothing of a response.
    pub(crate) stall: Duration,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(Watched {
            stream: Box::pin(stream),
            progress: Arc::new(Progress::new()),
            stall: self.stall,
            is_short: || QUEUED.is_short() || FILES.is_short(),
            timer: None,
            late: false,
        });
    }
}

/// A stream that ends when its client stalls. h2 resets streams that are dropped,
/// and frees what they have queued.
struct Watched<F> {
    stream: Pin<Box<F>>,
    progress: Arc<Progress>,
    stall: Duration,
    /// Whether memory for responses is short.
    is_short: fn() -> bool,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the limit has passed, and [`GRACE`] runs.
    late: bool,
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let progress = Arc::clone(&this.progress);
        if PROGRESS.sync_scope(progress, || this.stream.as_mut().poll(context)).is_ready() {
            return Poll::Ready(());
        }
        let Some(mut since) = this.progress.waits_since() else {
            this.late = false;
            return Poll::Pending;
        };
        loop {
            // What is not late yet may be when memory becomes short.
            let look = (since + this.stall).min(Instant::now() + SHORT_STALL);
            let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(look)));
            if !this.late && timer.deadline() > look {
                timer.as_mut().reset(look);
            }
            ready!(timer.as_mut().poll(context));
            let now = Instant::now();
            since = this.progress.waits_since().unwrap_or(now);
            let limit = if (this.is_short)() { SHORT_STALL.min(this.stall) } else { this.stall };
            if since + limit > now {
                this.late = false;
                timer.as_mut().reset((since + this.stall).min(now + SHORT_STALL));
            } else if this.late {
                tracing::debug!("a client does not take its response over HTTP/2");
                return Poll::Ready(());
            } else {
                this.late = true;
                timer.as_mut().reset(now + GRACE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Watched;
    use crate::net::activity::Activity;
    use crate::net::response_body::{Progress, Queued};
    use std::sync::Arc;
    use std::time::Duration;

    /// Long before the timeout, which this test does not wait for.
    #[tokio::test]
    async fn unread_responses_make_room() {
        let progress = Arc::new(Progress::new());
        let _queued = Queued::begin(&progress, &Arc::new(Activity::new()), None);
        let (stream, stall) = (Box::pin(std::future::pending()), Duration::from_hours(1));
        Watched { stream, progress, stall, is_short: || true, timer: None, late: false }.await;
    }
}
