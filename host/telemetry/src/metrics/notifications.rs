//! The counters of notifications, by distribution's names (its `notifications/metrics.go`). Whoever
//! sends them counts; here they are written.

use super::families::{EVENTS, LOST, PENDING, STATUS};
use super::output::Output;
use super::status::with_text;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What was counted of an endpoint of notifications since the start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EndpointReading {
    /// Its name.
    pub name: String,
    /// Where it is, for `/debug/vars`; without credentials.
    pub url: String,
    /// Events that wait for it.
    pub pending: u64,
    /// Events for it.
    pub events: u64,
    /// Events that it has taken (2xx or 3xx).
    pub successes: u64,
    /// Events that it answered with another status, for each attempt.
    pub failures: u64,
    /// Events that it did not answer, for each attempt.
    pub errors: u64,
    /// Events that were lost because there was no room for them, or they could not be written.
    pub dropped: u64,
    /// Events that were given up because it refused them several times.
    pub refused: u64,
    /// Requests by the status of their response.
    pub statuses: BTreeMap<u16, u64>,
}

impl EndpointReading {
    /// In the order of distribution's `EndpointMetrics`.
    fn counts(&self) -> [(&'static str, u64); 4] {
        [
            ("Events", self.events),
            ("Successes", self.successes),
            ("Failures", self.failures),
            ("Errors", self.errors),
        ]
    }

    fn statuses(&self) -> impl Iterator<Item = (String, u64)> {
        self.statuses.iter().map(|(status, count)| (with_text(*status), *count))
    }

    pub(super) fn write(&self, output: &mut Output) {
        let name = self.name.as_str();
        for (kind, count) in self.counts() {
            output.counter(&EVENTS, &[name, kind], count);
        }
        output.gauge(&PENDING, &[name], self.pending);
        for (status, count) in self.statuses() {
            output.counter(&STATUS, &[&status, name], count);
        }
        output.counter(&LOST, &["full", name], self.dropped);
        output.counter(&LOST, &["refused", name], self.refused);
    }

    fn vars(&self) -> Value {
        let mut metrics = json!({ "Pending": self.pending });
        for (kind, count) in self.counts() {
            metrics[kind] = count.into();
        }
        metrics["Statuses"] =
            self.statuses().map(|(it, n)| (it, n.into())).collect::<serde_json::Map<_, _>>().into();
        json!({ "name": self.name, "url": self.url, "Metrics": metrics })
    }
}

/// As in distribution's `/debug/vars`; `null` without endpoints.
pub(super) fn vars(endpoints: &[EndpointReading]) -> Value {
    let vars: Vec<Value> = endpoints.iter().map(EndpointReading::vars).collect();
    let vars = if vars.is_empty() { Value::Null } else { vars.into() };
    json!({ "endpoints": vars })
}

#[cfg(test)]
mod tests {
    use super::{EndpointReading, vars};
    use crate::metrics::output::Output;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn endpoints_are_written_as_distribution_has_them() {
        assert_eq!(vars(&[]), json!({ "endpoints": null }));
        let alice = EndpointReading {
            name: "alice".to_owned(),
            url: "https://alice.example/events".to_owned(),
            pending: 1,
            events: 3,
            successes: 2,
            failures: 1,
            errors: 1,
            dropped: 4,
            refused: 5,
            statuses: BTreeMap::from([(200, 2), (503, 1)]),
        };
        let mut output = Output::default();
        alice.write(&mut output);
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
                "roadstead_notifications_lost_total{cause=\"full\",endpoint=\"alice\"} 4",
                "roadstead_notifications_lost_total{cause=\"refused\",endpoint=\"alice\"} 5",
            ]
        );
        assert_eq!(
            vars(&[alice]),
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
