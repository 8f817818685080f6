//! The counters of notifications, by distribution's names (its `notifications/metrics.go`).

use super::families::{EVENTS, PENDING, STATUS};
use super::output::Output;
use super::status::with_text;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The endpoints of notifications.
#[derive(Default)]
pub(super) struct Endpoints(Mutex<BTreeMap<String, Arc<Endpoint>>>);

/// The counters of an endpoint of notifications.
///
/// An event [comes in](Self::queued) once, each attempt to deliver it ends in one of
/// [`delivered`](Self::delivered), [`rejected`](Self::rejected) and [`unanswered`](Self::unanswered),
/// and it [leaves](Self::left) once, delivered or given up.
#[derive(Debug, Default)]
pub struct Endpoint {
    /// Where it is, for `/debug/vars`.
    url: String,
    events: AtomicU64,
    left: AtomicU64,
    successes: AtomicU64,
    failures: AtomicU64,
    errors: AtomicU64,
    /// By status; there are at most a thousand.
    statuses: Mutex<BTreeMap<u16, u64>>,
}

impl Endpoint {
    /// An event was put into its queue.
    pub fn queued(&self) {
        add(&self.events);
    }

    /// An event has left its queue.
    pub fn left(&self) {
        add(&self.left);
    }

    /// It took an event, with this status (2xx or 3xx).
    pub fn delivered(&self, status: u16) {
        add(&self.successes);
        self.status(status);
    }

    /// It did not take an event, with this status.
    pub fn rejected(&self, status: u16) {
        add(&self.failures);
        self.status(status);
    }

    /// It did not answer.
    pub fn unanswered(&self) {
        add(&self.errors);
    }

    fn status(&self, status: u16) {
        // What is no status has none of the counters: clients of HTTP do not return such.
        let mut statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        *statuses.entry(status.min(1000)).or_default() += 1;
    }

    /// In the order of distribution's `EndpointMetrics`.
    fn counts(&self) -> [(&'static str, u64); 4] {
        [
            ("Events", load(&self.events)),
            ("Successes", load(&self.successes)),
            ("Failures", load(&self.failures)),
            ("Errors", load(&self.errors)),
        ]
    }

    fn pending(&self) -> u64 {
        // Read in this order, it is not too low.
        let left = load(&self.left);
        load(&self.events).saturating_sub(left)
    }

    fn statuses(&self) -> Vec<(String, u64)> {
        let statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        statuses.iter().map(|(status, count)| (with_text(*status), *count)).collect()
    }
}

impl Endpoints {
    /// The counters of the endpoint with this name.
    pub(super) fn get(&self, name: &str, url: &str) -> Arc<Endpoint> {
        let mut endpoints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Endpoint { url: url.to_owned(), ..Endpoint::default() });
        Arc::clone(endpoints.entry(name.to_owned()).or_insert_with(new))
    }

    pub(super) fn write(&self, output: &mut Output) {
        for (name, endpoint) in self.all() {
            for (kind, count) in endpoint.counts() {
                output.counter(&EVENTS, &[&name, kind], count);
            }
            output.gauge(&PENDING, &[&name], endpoint.pending());
            for (status, count) in endpoint.statuses() {
                output.counter(&STATUS, &[&status, &name], count);
            }
        }
    }

    /// As in distribution's `/debug/vars`; `null` without endpoints.
    pub(super) fn vars(&self) -> Value {
        let endpoints: Vec<Value> = self
            .all()
            .into_iter()
            .map(|(name, endpoint)| {
                let [events, successes, failures, errors] = endpoint.counts();
                let statuses: serde_json::Map<_, _> =
                    endpoint.statuses().into_iter().map(|(it, n)| (it, n.into())).collect();
                json!({
                    "name": name,
                    "url": endpoint.url,
                    "Metrics": {
                        "Pending": endpoint.pending(),
                        events.0: events.1,
                        successes.0: successes.1,
                        failures.0: failures.1,
                        errors.0: errors.1,
                        "Statuses": statuses,
                    },
                })
            })
            .collect();
        let endpoints = if endpoints.is_empty() { Value::Null } else { endpoints.into() };
        json!({ "endpoints": endpoints })
    }

    fn all(&self) -> Vec<(String, Arc<Endpoint>)> {
        let endpoints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.iter().map(|(name, endpoint)| (name.clone(), Arc::clone(endpoint))).collect()
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::Endpoints;
    use crate::metrics::output::Output;
    use serde_json::json;

    #[test]
    fn events_come_in_and_leave() {
        let endpoints = Endpoints::default();
        assert_eq!(endpoints.vars(), json!({ "endpoints": null }));
        let alice = endpoints.get("alice", "https://alice.example/events");
        for _ in 0..3 {
            alice.queued();
        }
        alice.unanswered();
        alice.rejected(503);
        alice.delivered(200);
        alice.left();
        // The same name is the same endpoint.
        endpoints.get("alice", "").delivered(200);
        endpoints.get("alice", "").left();
        let mut output = Output::default();
        endpoints.write(&mut output);
        let text = output.text().unwrap();
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "registry_notifications_events_total{endpoint=\"alice\",type=\"Events\"} 3",
                "registry_notifications_events_total{endpoint=\"alice\",type=\"Successes\"} 2",
                "registry_notifications_events_total{endpoint=\"alice\",type=\"Failures\"} 1",
                "registry_notifications_events_total{endpoint=\"alice\",type=\"Errors\"} 1",
                "registry_notifications_pending_total{endpoint=\"alice\"} 1",
                "registry_notifications_status_total{code=\"200 OK\",endpoint=\"alice\"} 2",
                "registry_notifications_status_total{code=\"503 Service Unavailable\",endpoint=\"alice\"} 1",
            ]
        );
        assert_eq!(
            endpoints.vars(),
            json!({ "endpoints": [{
                "name": "alice",
                "url": "https://alice.example/events",
                "Metrics": {
                    "Pending": 1, "Events": 3, "Successes": 2, "Failures": 1, "Errors": 1,
                    "Statuses": { "200 OK": 2, "503 Service Unavailable": 1 },
                },
            }] })
        );
    }
}
