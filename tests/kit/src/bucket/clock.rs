//! The time of a bucket in memory, and when each of its objects was written.

use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

/// How much more time has passed than really did, and had so when each object was
/// written. Lists are made of these keys, as those in memory copy all that is there.
#[derive(Debug, Default)]
pub(super) struct Clock {
    pub(super) passed: Duration,
    pub(super) written: BTreeMap<String, Duration>,
    /// How much passes with each request; then no other time does.
    pub(super) tick: Option<Duration>,
}

impl Clock {
    /// The keys of a page, its common prefixes, and where the next one begins.
    pub(super) fn page(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        after: String,
        limit: usize,
    ) -> (Vec<String>, Vec<String>, Option<String>) {
        let (mut keys, mut common) = (Vec::new(), Vec::new());
        let mut last = after;
        loop {
            // All below a common prefix is in it, and `0` follows `/`.
            let (next, passed);
            let from = if last.as_str() < prefix {
                Bound::Included(prefix)
            } else if let Some(directory) = last.strip_suffix('/') {
                passed = format!("{directory}0");
                Bound::Included(passed.as_str())
            } else {
                Bound::Excluded(last.as_str())
            };
            let found = self.written.range::<str, _>((from, Bound::Unbounded)).next();
            let Some((key, rest)) =
                found.and_then(|(key, _)| Some((key, key.strip_prefix(prefix)?)))
            else {
                return (keys, common, None);
            };
            if keys.len() + common.len() == limit {
                return (keys, common, Some(last));
            }
            if let Some((directory, _)) = delimiter.and_then(|delimiter| rest.split_once(delimiter))
            {
                next = format!("{prefix}{directory}/");
                common.push(next.clone());
            } else {
                next = key.clone();
                keys.push(next.clone());
            }
            last = next;
        }
    }

    /// When an object was written, in lists.
    pub(super) fn time_of(&self, key: &str, real: DateTime<Utc>) -> DateTime<Utc> {
        let then = self.written.get(key).copied().unwrap_or_default();
        if self.tick.is_some() { DateTime::UNIX_EPOCH + then } else { real + then }
    }
}
