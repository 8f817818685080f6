//! Series of single repositories: off by default, and never more than so many.

use super::families::{REPOSITORY_BYTES, REPOSITORY_PULLS, REPOSITORY_PUSHES};
use super::labels::Direction;
use super::output::Output;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// The most repositories with series of their own, whatever is asked for.
///
/// Limit: repositories with series of their own; test: `repositories_beyond_the_limit_are_one`.
pub const REPOSITORIES_LIMIT: usize = 10_000;

/// The label of all repositories beyond the limit. No repository's name begins like this.
const OTHER: &str = "_other";

/// What was done with a repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RepositoryUse {
    /// Manifests that were pulled.
    pub pulls: u64,
    /// Manifests that were pushed.
    pub pushes: u64,
    /// Bytes that were received.
    pub received: u64,
    /// Bytes that were sent.
    pub sent: u64,
}

/// The counters of repositories: the first ones that were used have their own.
pub(super) struct Repositories {
    limit: usize,
    known: RwLock<HashMap<Box<str>, Arc<Counters>>>,
    others: Counters,
}

#[derive(Default)]
struct Counters {
    pulls: AtomicU64,
    pushes: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

impl Repositories {
    /// At most `limit` repositories get series of their own; with 0, nothing is counted.
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.min(REPOSITORIES_LIMIT);
        Self { limit, known: RwLock::default(), others: Counters::default() }
    }

    pub(super) fn add(&self, name: &str, more: RepositoryUse) {
        if self.limit == 0 {
            return;
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counters) = known.get(name) {
            return counters.add(more);
        }
        let is_full = known.len() >= self.limit;
        drop(known);
        if is_full {
            return self.others.add(more);
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have added it, or the last one that there was room for.
        if known.len() >= self.limit && !known.contains_key(name) {
            return self.others.add(more);
        }
        known.entry(name.into()).or_default().add(more);
    }

    pub(super) fn write(&self, output: &mut Output) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> =
            known.iter().map(|(name, counters)| (name.clone(), Arc::clone(counters))).collect();
        drop(known);
        all.sort_by(|one, other| one.0.cmp(&other.0));
        for (name, counters) in &all {
            counters.write(output, name);
        }
        if all.len() >= self.limit && self.limit > 0 {
            self.others.write(output, OTHER);
        }
    }
}

impl Counters {
    fn add(&self, more: RepositoryUse) {
        let RepositoryUse { pulls, pushes, received, sent } = more;
        for (counter, more) in [
            (&self.pulls, pulls),
            (&self.pushes, pushes),
            (&self.received, received),
            (&self.sent, sent),
        ] {
            counter.fetch_add(more, Ordering::Relaxed);
        }
    }

    fn write(&self, output: &mut Output, name: &str) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        output.counter(&REPOSITORY_PULLS, &[name], load(&self.pulls));
        output.counter(&REPOSITORY_PUSHES, &[name], load(&self.pushes));
        let (received, sent) = (Direction::Received.as_str(), Direction::Sent.as_str());
        output.counter(&REPOSITORY_BYTES, &[received, name], load(&self.received));
        output.counter(&REPOSITORY_BYTES, &[sent, name], load(&self.sent));
    }
}

#[cfg(test)]
mod tests {
    use super::{REPOSITORIES_LIMIT, Repositories, RepositoryUse};
    use crate::metrics::output::Output;

    fn text(repositories: &Repositories) -> String {
        let mut output = Output::default();
        repositories.write(&mut output);
        output.text().unwrap()
    }

    const PULL: RepositoryUse = RepositoryUse { pulls: 1, pushes: 0, received: 2, sent: 30 };

    #[test]
    fn repositories_beyond_the_limit_are_one() {
        let repositories = Repositories::new(2);
        for name in ["b", "a", "c", "d", "a"] {
            repositories.add(name, PULL);
        }
        let text = text(&repositories);
        let pulls: Vec<_> =
            text.lines().filter(|line| line.starts_with("roadstead_repository_pulls")).collect();
        assert_eq!(
            pulls,
            [
                "roadstead_repository_pulls_total{repository=\"a\"} 2",
                "roadstead_repository_pulls_total{repository=\"b\"} 1",
                "roadstead_repository_pulls_total{repository=\"_other\"} 2",
            ]
        );
        let bytes =
            "roadstead_repository_bytes_total{direction=\"sent\",repository=\"_other\"} 60\n";
        assert!(text.contains(bytes), "{text}");
        assert_eq!(Repositories::new(usize::MAX).limit, REPOSITORIES_LIMIT);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let repositories = Repositories::new(0);
        repositories.add("a", PULL);
        assert_eq!(text(&repositories), "");
    }

    #[test]
    fn a_race_for_the_last_place_has_one_winner() {
        let repositories = Repositories::new(3);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let repositories = &repositories;
                scope.spawn(move || {
                    for name in 0..100 {
                        repositories.add(&format!("{}", (name + thread) % 10), PULL);
                    }
                });
            }
        });
        let text = text(&repositories);
        let pulls = text.lines().filter_map(|line| {
            line.strip_prefix("roadstead_repository_pulls_total")?.rsplit_once(' ')
        });
        let counts: Vec<u64> = pulls.map(|(_, count)| count.parse().unwrap()).collect();
        assert_eq!(counts.len(), 4);
        assert_eq!(counts.iter().sum::<u64>(), 800);
    }
}
