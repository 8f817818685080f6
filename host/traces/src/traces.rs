//! Traces of a process.

use crate::context::{Context, Parent};
use crate::environment::{Resource, Settings};
use crate::export::Client;
use crate::exporter::{ExportLog, Exporter};
use crate::queue::{Counts, Queue};
use crate::random;
use crate::sampler::Sampler;
use crate::span::{Active, Step};
use http::HeaderMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Records traces and sends them to a collector. Clones are the same.
#[derive(Clone)]
pub struct Traces {
    sampler: Sampler,
    /// Whether clients' traces are continued.
    propagates: bool,
    inner: Arc<Inner>,
}

struct Inner {
    queue: Arc<Queue>,
    place: String,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("sampler", &self.sampler).finish_non_exhaustive()
    }
}

/// Where spans go.
impl fmt::Display for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.place)
    }
}

impl Traces {
    /// Traces as OpenTelemetry's variables want them; `None` if they want none, which is so
    /// unless they name an exporter or an endpoint. `variable` gives the value of a variable.
    ///
    /// Has to be called in a tokio runtime, in which spans are sent from then on.
    ///
    /// # Errors
    /// A sentence that names the variable whose value cannot be used, and never the value of
    /// one that may be secret.
    pub fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
        resource: Resource<'_>,
    ) -> Result<Option<Self>, String> {
        let Some(settings) = Settings::read(&variable, resource)? else { return Ok(None) };
        let runtime = Handle::try_current().map_err(|error| format!("traces: {error}"))?;
        Ok(Some(Self::start(settings, &runtime)))
    }

    pub(crate) fn start(settings: Settings, runtime: &Handle) -> Self {
        let queue = Arc::new(Queue::new(settings.queue, settings.batch));
        let (stop, stopped) = watch::channel(false);
        let place = settings.destination.endpoint.origin();
        let exporter = Exporter {
            queue: Arc::clone(&queue),
            client: Client::new(settings.destination),
            schedule: settings.schedule,
            resource: settings.resource,
            version: settings.version,
            place: place.clone(),
            stop: stopped,
            log: ExportLog::default(),
        };
        let task = Mutex::new(Some(runtime.spawn(exporter.run())));
        let inner = Arc::new(Inner { queue, place, stop, task });
        Self { sampler: settings.sampler, propagates: settings.propagates, inner }
    }

    /// Begins the span of a request, if its trace is sampled. Otherwise it takes some
    /// nanoseconds, and allocates nothing.
    ///
    /// `traceparent` and `tracestate` are the headers of these names. Several headers
    /// `traceparent` are none; several headers `tracestate` are one, joined by commas.
    #[inline]
    pub fn begin(&self, traceparent: Option<&[u8]>, tracestate: Option<&[u8]>) -> Option<Active> {
        let parent = match traceparent {
            Some(text) if self.propagates => Parent::parse(text),
            _ => None,
        };
        if let Some(parent) = parent {
            return self.sampler.continues(&parent).then(|| self.go_on(&parent, tracestate));
        }
        let low = random::number();
        self.sampler.begins(low).then(|| self.begin_here(low))
    }

    /// The same with a request's headers.
    pub fn begin_request(&self, headers: &HeaderMap) -> Option<Active> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let parent = parents.next().filter(|_| parents.next().is_none());
        let Some(parent) = parent else { return self.begin(None, None) };
        // Few requests have one, and of these most are sampled.
        let mut states = headers.get_all(TRACESTATE).iter();
        let (first, more) = (states.next(), states.next());
        if more.is_none() {
            return self.begin(Some(parent.as_bytes()), first.map(http::HeaderValue::as_bytes));
        }
        let all: Vec<&[u8]> = headers.get_all(TRACESTATE).iter().map(AsRef::as_ref).collect();
        self.begin(Some(parent.as_bytes()), Some(&all.join(&b',')))
    }

    /// Begins a span below the one whose [`Context::to_header`] is `header`. `None` if it is
    /// not such a value.
    pub fn join(&self, header: &[u8], step: Step<'_>) -> Option<Active> {
        let parent = Context::from_header(header)?;
        Some(Active::below(&self.inner.queue, &parent, step))
    }

    /// How many spans have gone where.
    pub fn counts(&self) -> Counts {
        self.inner.queue.counters.read()
    }

    /// Sends the spans that have ended, within a time, and no others any more.
    pub async fn shut_down(&self, within: Duration) {
        self.inner.stop.send_replace(true);
        let task = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut task) = task
            && tokio::time::timeout(within, &mut task).await.is_err()
        {
            task.abort();
            // Its batch is counted when it has ended.
            let _ = task.await;
        }
        self.inner.queue.close();
        let Counts { queue_full, not_exported, .. } = self.counts();
        if queue_full + not_exported > 0 {
            let lost = queue_full + not_exported;
            tracing::info!("traces: {lost} spans were dropped since the start");
        }
    }

    #[cold]
    fn go_on(&self, parent: &Parent<'_>, tracestate: Option<&[u8]>) -> Active {
        let context = Context::below(parent, tracestate, random::span_id());
        Active::server(&self.inner.queue, context, Some(parent))
    }

    #[cold]
    fn begin_here(&self, low: u64) -> Active {
        let context = Context::root(random::trace_id(low), random::span_id());
        Active::server(&self.inner.queue, context, None)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The task sends what is left, and ends.
        self.stop.send_replace(true);
    }
}
