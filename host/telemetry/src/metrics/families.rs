//! The table of all metrics: name, type, labels and meaning.
//!
//! `docs/metrics.md` is written from it, and everything that is rendered is one of its rows.

/// The type of a metric, as in the text format's `# TYPE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "they are Prometheus's")]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// The word of the text format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Family {
    /// The name, with the unit as its suffix.
    pub name: &'static str,
    /// The type.
    pub kind: Kind,
    /// The names of its labels, sorted.
    pub labels: &'static [&'static str],
    /// The meaning: the text format's `# HELP`, and the documentation's.
    pub help: &'static str,
}

/// Rows that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The heading in the documentation.
    pub title: &'static str,
    /// The rows.
    pub families: &'static [Family],
}

macro_rules! families {
    ($($title:literal { $($name:ident = $kind:ident $text:literal [$($label:literal)*] $help:literal;)* })*) => {
        $($(pub(super) const $name: Family =
            Family { name: $text, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*)*

        /// All rows, in the documentation's order.
        pub const GROUPS: &[Group] =
            &[$(Group { title: $title, families: &[$($name),*] }),*];
    };
}

families! {
    "Requests, as distribution counts them" {
        REQUESTS = Counter "registry_http_requests_total" ["code" "handler" "method"]
            "Requests that were answered, by status.";
        IN_FLIGHT = Gauge "registry_http_in_flight_requests" ["handler"]
            "Requests that have begun and are not answered to the end.";
        DURATION = Histogram "registry_http_request_duration_seconds" ["handler" "method"]
            "Time from a request's head to the end of its response's body.";
        REQUEST_SIZE = Histogram "registry_http_request_size_bytes" ["handler"]
            "Bytes of the bodies of requests.";
        RESPONSE_SIZE = Histogram "registry_http_response_size_bytes" ["handler"]
            "Bytes of the bodies of responses, as far as they were sent.";
    }
    "Storage and cache, as distribution counts them" {
        ACTION = Histogram "registry_storage_action_seconds" ["action" "driver"]
            "Time of storage operations, by the action of distribution's driver that comes closest. Streams are not timed here.";
        CACHE_REQUESTS = Counter "registry_storage_cache_requests_total" []
            "Reads that the host's cache of responses was asked for (distribution 3; there, of its cache of descriptors).";
        CACHE_HITS = Counter "registry_storage_cache_hits_total" []
            "Of these, those that the host's cache of responses answered (distribution 3).";
        CACHE_ERRORS = Counter "registry_storage_cache_errors_total" []
            "Failures of the cache (distribution 3). The host's cache of responses has none: always 0.";
        CACHE = Counter "registry_storage_cache_total" ["type"]
            "The same for the dashboards of distribution 2: Request, Hit and Miss of the host's cache of responses.";
    }
    "Notifications, as distribution counts them" {
        EVENTS = Counter "registry_notifications_events_total" ["endpoint" "type"]
            "Events for an endpoint: Events came in; Successes, Failures (another status than 2xx or 3xx) and Errors (no answer) count attempts to deliver them.";
        PENDING = Gauge "registry_notifications_pending_total" ["endpoint"]
            "Events that wait to be delivered to an endpoint.";
        STATUS = Counter "registry_notifications_status_total" ["code" "endpoint"]
            "Answers of an endpoint, by status with its text, such as 200 OK.";
        LOST = Counter "roadstead_notifications_lost_total" ["cause" "endpoint"]
            "Events that an endpoint never got: full (no room, or the outbox could not be written), or refused several times.";
    }
    "The program" {
        BUILD = Gauge "roadstead_build_info" ["commit" "component" "version"]
            "Always 1: the version, the commit that it was built from, and the digest of the component.";
        READY = Gauge "roadstead_ready" []
            "1 while all checks of /debug/health pass, 0 otherwise.";
        LOG_DROPPED = Counter "roadstead_log_lines_dropped_total" []
            "Log lines that were lost because standard error took no more.";
    }
    "Bytes" {
        BYTES = Counter "roadstead_http_body_bytes_total" ["direction"]
            "Bytes of bodies, counted while they pass: received from clients and sent to them.";
    }
    "Storage" {
        OPERATION = Histogram "roadstead_storage_operation_seconds" ["operation"]
            "Time of storage operations, of an object store's requests too; its _count is their number.";
        STORAGE_ERRORS = Counter "roadstead_storage_errors_total" ["class" "operation"]
            "Storage operations that failed by no fault of a client: full, read_only, unavailable (a retry may succeed) or failed.";
    }
    "Cache of responses" {
        CACHE_RESPONSES = Counter "roadstead_cache_responses_total" ["handler" "result"]
            "Reads that the cache could answer: hit, or miss where the component answered.";
        CACHE_ENTRIES = Gauge "roadstead_cache_entries" []
            "Responses in the cache.";
        CACHE_BYTES = Gauge "roadstead_cache_bytes" []
            "Bytes that they take, about.";
        CACHE_PURGES = Counter "roadstead_cache_purges_total" []
            "Keys whose responses were outdated by writes.";
    }
    "Instances of the component" {
        INSTANCES = Gauge "roadstead_instances" []
            "Instances that live.";
        INSTANCES_STARTED = Counter "roadstead_instances_started_total" []
            "Instances that were started.";
        INSTANCES_ENDED = Counter "roadstead_instances_ended_total" ["cause"]
            "Instances that ended: replaced (idle, large, old, or the users changed), trap (it failed, and with it the requests that it had) or shutdown.";
    }
    "Turns, connections and what is refused" {
        TURNS = Gauge "roadstead_turns_in_use" []
            "Requests that the component is answering.";
        TURNS_LIMIT = Gauge "roadstead_turns_limit" []
            "How many it may answer at a time (REGISTRY_HTTP_MAXREQUESTS).";
        TURNS_WAITING = Gauge "roadstead_turns_waiting" []
            "Requests that wait for a turn.";
        TURN_WAIT = Histogram "roadstead_turn_wait_seconds" []
            "Time that requests waited for a turn, of those that had to wait.";
        REFUSED = Counter "roadstead_refused_total" ["cause"]
            "Requests and connections that were refused since others had all there is: turns, reads, memory, manifests, streams or connections.";
        CONNECTIONS = Gauge "roadstead_connections_open" []
            "Connections of clients.";
        CONNECTIONS_LIMIT = Gauge "roadstead_connections_limit" []
            "How many there can be (REGISTRY_HTTP_MAXCONNECTIONS, or the limit of open files).";
        STREAMS = Gauge "roadstead_http2_streams_open" []
            "Requests over HTTP/2 whose clients have yet to take the response.";
        STREAMS_LIMIT = Gauge "roadstead_http2_streams_limit" []
            "How many there can be.";
    }
    "Uploads" {
        UPLOADS = Counter "roadstead_upload_sessions_total" ["outcome"]
            "Upload sessions: started, committed, refused at the end (a wrong digest, or a failure), cancelled by the client, purged as abandoned. At_once needed no session: mounts, and uploads of one request.";
    }
    "Logins" {
        LOGINS = Counter "roadstead_logins_total" ["outcome"]
            "Questions about credentials that the component did not know: accepted, refused, paused (too many wrong passwords), busy (too many at a time) or failed.";
    }
    "Garbage collection" {
        COLLECTION_RUNS = Counter "roadstead_collection_runs_total" ["outcome"]
            "Runs of garbage collection that this process drove: done, partly (it ended early) or failed.";
        COLLECTION_RUNNING = Gauge "roadstead_collection_running" []
            "1 while this process drives a run.";
        COLLECTION_STAGE = Gauge "roadstead_collection_stage" ["stage"]
            "1 for the stage of the run that goes on, 0 for the others.";
        COLLECTION_INTERVAL = Gauge "roadstead_collection_interval_seconds" []
            "The interval of the settings. Missing where this process does not collect.";
        COLLECTION_LAST = Gauge "roadstead_collection_last_run_timestamp_seconds" []
            "When this process ended a run for the last time; 0 before the first.";
        COLLECTION_SUCCESS = Gauge "roadstead_collection_last_success_timestamp_seconds" []
            "When a run was last done to the end, or was found not to be due since another process did it; 0 before the first.";
        COLLECTION_SECONDS = Gauge "roadstead_collection_last_run_seconds" []
            "How long the last run took.";
        COLLECTION_REMOVED = Counter "roadstead_collection_removed_blobs_total" []
            "Blobs that runs removed.";
        COLLECTION_FREED = Counter "roadstead_collection_freed_bytes_total" []
            "Bytes of these blobs.";
    }
    "Repositories" {
        REPOSITORY_PULLS = Counter "roadstead_repository_pulls_total" ["repository"]
            "Manifests that were pulled. Off by default; repositories beyond the limit are counted as _other.";
        REPOSITORY_PUSHES = Counter "roadstead_repository_pushes_total" ["repository"]
            "Manifests that were pushed.";
        REPOSITORY_BYTES = Counter "roadstead_repository_bytes_total" ["direction" "repository"]
            "Bytes of blobs and manifests, received and sent.";
    }
    "The process, where there is Linux's /proc" {
        PROCESS_START = Gauge "process_start_time_seconds" []
            "When the process was started.";
        PROCESS_CPU = Counter "process_cpu_seconds_total" []
            "CPU time of the process, in the kernel and outside it.";
        PROCESS_RESIDENT = Gauge "process_resident_memory_bytes" []
            "Memory of the process that is in RAM.";
        PROCESS_VIRTUAL = Gauge "process_virtual_memory_bytes" []
            "Addresses that are mapped. The pool of instances reserves many times what it uses.";
        PROCESS_THREADS = Gauge "process_threads" []
            "Threads of the process.";
        PROCESS_FDS = Gauge "process_open_fds" []
            "Open files and sockets.";
        PROCESS_FDS_LIMIT = Gauge "process_max_fds" []
            "How many there can be.";
    }
}
