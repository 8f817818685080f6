//! The time of a bucket in memory, and when each of its objects was written.

use chrono::{DateTime, Utc};
use object_store::list::PaginatedListResult;
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

/// How much more time has passed than really did, and had so when each object was
/// written. Lists are made of this, as those in memory copy all that is there.
#[derive(Debug, Default)]
pub(super) struct Clock {
    pub(super) passed: Duration,
    pub(super) written: BTreeMap<String, Written>,
    /// How much passes with each request; then no other time does.
    pub(super) tick: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Written {
    /// Its time is the real one.
    pub(super) meta: ObjectMeta,
    pub(super) passed: Duration,
}

impl Clock {
    /// A page of a list.
    pub(super) fn page(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        after: String,
        limit: usize,
    ) -> PaginatedListResult {
        let extensions = http::Extensions::new();
        let (objects, common_prefixes) = (Vec::new(), Vec::new());
        let mut result = ListResult { common_prefixes, objects, extensions };
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
            let found =
                found.and_then(|(key, found)| Some((key, key.strip_prefix(prefix)?, found)));
            let Some((key, rest, found)) = found else {
                return PaginatedListResult { result, page_token: None };
            };
            if result.objects.len() + result.common_prefixes.len() == limit {
                return PaginatedListResult { result, page_token: Some(last) };
            }
            if let Some((directory, _)) = delimiter.and_then(|delimiter| rest.split_once(delimiter))
            {
                next = format!("{prefix}{directory}/");
                result.common_prefixes.push(Path::from(next.as_str()));
            } else {
                next = key.clone();
                let last_modified = self.time_of(found);
                result.objects.push(ObjectMeta { last_modified, ..found.meta.clone() });
            }
            last = next;
        }
    }

    /// When an object was written, in lists.
    fn time_of(&self, written: &Written) -> DateTime<Utc> {
        let real = written.meta.last_modified;
        let real = if self.tick.is_some() { DateTime::UNIX_EPOCH } else { real };
        real + written.passed
    }
}
