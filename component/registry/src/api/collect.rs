//! Garbage collection: each request does a slice of a run. The native host sends
//! these requests itself; under other hosts, `curl` and a clock do.

use super::maintenance::{Turn, answer, asked};
use super::{Answer, Call, Registry, internal};
use crate::{CollectionQuery, Error, SliceOptions, TOMBSTONE_KEPT};
use roadstead_bridge::collect::{Overrides, Progress, SliceRequest};
use roadstead_config::Collection;
use roadstead_storage::Storage;
use std::time::{Duration, Instant, SystemTime};

/// Maximum size of a request's body, in bytes: several times what it can say.
///
/// Limit: bytes of a request for garbage collection; test: `a_run_is_asked_for_in_slices`.
const BODY_LIMIT: usize = 1024;

/// The most operations of the storage in a slice, so that it is done before a proxy
/// loses patience. With a lower rate, a slice is what takes a second.
///
/// Limit: operations of a slice of garbage collection; test: none, a slice may stop earlier.
const LARGEST_SLICE: u32 = 1000;

impl<S: Storage> Registry<S> {
    pub(super) async fn collect(&self, call: &mut Call<S::Upload>) -> Answer<S> {
        let Some(collection) = self.switches.collection else {
            return Err(Error::CollectionDisabled);
        };
        let overrides = self.gate.overrides(&call.headers)?;
        let ask = asked(call.body.take(), BODY_LIMIT, Error::CollectionRequest).await?;
        let order = order(collection, overrides, &ask)?;
        // The host's own requests come one after the other.
        let _turn = match overrides {
            Some(_) => None,
            None => Some(Turn::take(&self.collecting, Error::Collecting)?),
        };
        let begun = Instant::now();
        let progress = self.store.collect(&order).await.map_err(internal)?;
        let progress = paced(progress, &order, begun.elapsed());
        answer(&progress)
    }

    /// Answers a question about garbage. Each may take as much work as a slice.
    pub(super) async fn collection(&self, query: CollectionQuery) -> Answer<S> {
        let _turn = Turn::take(&self.collecting, Error::Collecting)?;
        match query {
            CollectionQuery::Reports => answer(&self.store.reports().await.map_err(internal)?),
            CollectionQuery::Usage(after) => {
                answer(&self.store.usage(after, LARGEST_SLICE).await.map_err(internal)?)
            }
            CollectionQuery::Contents(after) => {
                let contents = self.store.contents(after.as_deref(), LARGEST_SLICE).await;
                answer(&contents.map_err(internal)?)
            }
            CollectionQuery::Trash => {
                let kept = self.switches.collection.map(|collection| collection.keep);
                answer(&self.store.trash_view(kept, SystemTime::now()).await.map_err(internal)?)
            }
            CollectionQuery::Quotas => answer(&self.store.quotas_used().await.map_err(internal)?),
            CollectionQuery::Why(digest, after) => {
                answer(&self.store.why(&digest, after, LARGEST_SLICE).await.map_err(internal)?)
            }
        }
    }
}

/// By the settings, except for what the host says.
fn order(
    collection: Collection,
    overrides: Option<Overrides>,
    ask: &SliceRequest,
) -> Result<SliceOptions, Error> {
    let Collection { interval, grace, keep, untagged, rate } = collection;
    let overrides = overrides.unwrap_or_default();
    let or = |given: Option<u64>, setting| given.map_or(setting, Duration::from_millis);
    let grace = or(overrides.grace, grace);
    Ok(SliceOptions {
        run: ask.run.as_deref().map(run).transpose()?,
        adopt: overrides.adopt,
        grace,
        keep: or(overrides.keep, keep),
        interval: or(overrides.interval, interval),
        valid: or(overrides.valid, grace / 2),
        settled: or(overrides.settled, TOMBSTONE_KEPT),
        dry_run: ask.dry_run,
        untagged: ask.untagged.map(Duration::from_secs).or(untagged),
        exclusive: overrides.exclusive,
        undo: ask.undo.as_deref().map(run).transpose()?,
        pace: if overrides.exclusive {
            Duration::ZERO
        } else {
            Duration::from_secs(1) / rate.max(1)
        },
        budget: overrides.budget.unwrap_or(rate.min(LARGEST_SLICE)),
    })
}

/// A run by its name.
fn run(text: &str) -> Result<u128, Error> {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let number = u128::from_str_radix(text, 16).ok();
    number.filter(|_| text.len() == 32 && text.bytes().all(digit)).ok_or_else(|| {
        Error::CollectionRequest("a run has 32 hexadecimal digits in lower case".to_owned())
    })
}

/// With the wait that keeps the rate, of which a part has passed with the slice.
fn paced(mut progress: Progress, order: &SliceOptions, passed: Duration) -> Progress {
    if let Progress::Running { operations, wait, .. } = &mut progress {
        let rest = (order.pace * *operations).saturating_sub(passed).as_millis();
        *wait = u64::try_from(rest).unwrap_or(u64::MAX).max(*wait);
    }
    progress
}

#[cfg(test)]
mod tests {
    use super::{order, paced};
    use crate::{SliceOptions, TOMBSTONE_KEPT};
    use roadstead_bridge::collect::{Overrides, Progress, SliceRequest};
    use roadstead_config::Collection;
    use std::time::Duration;

    const HOUR: Duration = Duration::from_hours(1);

    fn collection(rate: u32) -> Collection {
        Collection { interval: HOUR * 24, grace: HOUR, keep: HOUR * 2, untagged: None, rate }
    }

    #[test]
    fn the_settings_and_what_the_host_says() {
        let ask = SliceRequest {
            run: Some(format!("{:032x}", 7)),
            dry_run: true,
            untagged: None,
            undo: Some(format!("{:032x}", 8)),
        };
        let expected = SliceOptions {
            run: Some(7),
            adopt: false,
            grace: HOUR,
            keep: HOUR * 2,
            interval: HOUR * 24,
            valid: HOUR / 2,
            settled: TOMBSTONE_KEPT,
            dry_run: true,
            untagged: None,
            exclusive: false,
            undo: Some(8),
            pace: Duration::from_micros(200),
            budget: 1000,
        };
        assert_eq!(order(collection(5000), None, &ask).unwrap(), expected);
        let of_host =
            Overrides { interval: Some(0), keep: Some(1), exclusive: true, ..Overrides::default() };
        let (interval, keep) = (Duration::ZERO, Duration::from_millis(1));
        let pace = Duration::ZERO;
        let expected =
            SliceOptions { interval, keep, exclusive: true, pace, budget: 7, ..expected };
        assert_eq!(order(collection(7), Some(of_host), &ask).unwrap(), expected);
        let deletes = Collection { untagged: Some(HOUR * 3), ..collection(7) };
        let untagged = |ask: &SliceRequest| order(deletes, None, ask).unwrap().untagged;
        assert_eq!(untagged(&ask), Some(HOUR * 3));
        assert_eq!(untagged(&SliceRequest { untagged: Some(60), ..ask }), Some(HOUR / 60));
    }

    #[test]
    fn runs_have_one_name() {
        for text in ["", "7", &"0".repeat(33), &"F".repeat(32), &format!("+{}", "0".repeat(31))] {
            let text = Some(text.to_owned());
            let ask = SliceRequest { run: text.clone(), ..SliceRequest::default() };
            assert!(order(collection(1), None, &ask).is_err(), "{text:?}");
            let ask = SliceRequest { undo: text.clone(), ..SliceRequest::default() };
            assert!(order(collection(1), None, &ask).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_rate_is_kept_by_waiting() {
        let running = |wait| Progress::Running {
            run: String::new(),
            stage: String::new(),
            percent: 0,
            operations: 500,
            wait,
        };
        let others = order(collection(200), None, &SliceRequest::default()).unwrap();
        let exclusive = Overrides { exclusive: true, ..Overrides::default() };
        let exclusive = order(collection(200), Some(exclusive), &SliceRequest::default()).unwrap();
        let passed = Duration::from_millis(600);
        assert_eq!(paced(running(0), &others, Duration::ZERO), running(2500));
        assert_eq!(paced(running(0), &others, passed), running(1900));
        assert_eq!(paced(running(0), &others, HOUR), running(0));
        assert_eq!(paced(running(9000), &others, passed), running(9000));
        assert_eq!(paced(running(0), &exclusive, Duration::ZERO), running(0));
    }
}
