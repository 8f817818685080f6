//! Brute-force protection: pauses after wrong passwords, which grow with each
//! further failure.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// Wrong passwords for one user before the first pause.
///
/// Limit: wrong passwords for one user before the first pause; test:
/// `a_user_waits_longer_and_longer`.
const USER_FAILURES: u32 = 5;

/// Wrong passwords from one address before the first pause: more, because
/// several people may share it.
///
/// Limit: wrong passwords from one address before the first pause; test:
/// `an_address_waits_whatever_user_it_claims`.
const ADDRESS_FAILURES: u32 = 20;

/// The first pause; each further failure doubles it.
///
/// Limit: first pause after wrong passwords; test: `a_user_waits_longer_and_longer`.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
///
/// Limit: longest pause after wrong passwords; test:
/// `a_user_waits_longer_and_longer`.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How long failures are remembered after the last one.
///
/// Limit: time for which wrong passwords are remembered; test:
/// `a_user_waits_longer_and_longer`.
const MEMORY: Duration = Duration::from_mins(15);

/// The most users and addresses that are remembered. When it is full, those
/// with the oldest failures are dropped.
///
/// Limit: users and addresses whose failed logins count; test: `it_remembers_a_bounded_number`.
const ENTRIES: usize = 16 * 1024;

/// What failures are counted for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Who {
    /// The hash of a name, under a random key: names are of any length, as anyone
    /// can send them.
    User(u64),
    /// For IPv6 the /64 network, which one customer usually has.
    Address(IpAddr),
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: SystemTime,
}

/// Counts failures and decides on pauses.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    failures: HashMap<Who, Failures>,
    names: RandomState,
}

impl Guard {
    /// How long this user or address has to wait, if at all.
    pub(crate) fn pause(
        &self,
        user: &str,
        address: Option<IpAddr>,
        now: SystemTime,
    ) -> Option<Duration> {
        let of = |who: &Who| {
            let failures = self.failures.get(who)?;
            let since = now.duration_since(failures.last).unwrap_or_default();
            let pause = pause_after(failures.count, limit(who))?;
            pause.checked_sub(since).filter(|left| !left.is_zero())
        };
        let address = address.and_then(|address| of(&Who::Address(network(address))));
        of(&self.user(user)).max(address)
    }

    /// Records a wrong password.
    pub(crate) fn failed(&mut self, user: &str, address: Option<IpAddr>, now: SystemTime) {
        self.count(self.user(user), now);
        if let Some(address) = address {
            self.count(Who::Address(network(address)), now);
        }
    }

    /// Records a correct password. Failures from the address are kept: an
    /// attacker with an account could otherwise continue to guess others'.
    pub(crate) fn succeeded(&mut self, user: &str) {
        self.failures.remove(&self.user(user));
    }

    fn user(&self, name: &str) -> Who {
        Who::User(self.names.hash_one(name))
    }

    fn count(&mut self, who: Who, now: SystemTime) {
        if self.failures.len() >= ENTRIES && !self.failures.contains_key(&who) {
            self.make_room(now);
        }
        let failures = self.failures.entry(who).or_insert(Failures { count: 0, last: now });
        if !remembered(failures, now) {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    /// Drops expired failures or, if there are none, the older half.
    fn make_room(&mut self, now: SystemTime) {
        self.failures.retain(|_, failures| remembered(failures, now));
        if self.failures.len() >= ENTRIES {
            let mut times: Vec<_> = self.failures.values().map(|failures| failures.last).collect();
            times.sort_unstable();
            let middle = times[times.len() / 2];
            self.failures.retain(|_, failures| failures.last > middle);
        }
    }
}

fn remembered(failures: &Failures, now: SystemTime) -> bool {
    now.duration_since(failures.last).unwrap_or_default() < MEMORY
}

fn limit(who: &Who) -> u32 {
    match who {
        Who::User(_) => USER_FAILURES,
        Who::Address(_) => ADDRESS_FAILURES,
    }
}

fn pause_after(failures: u32, free: u32) -> Option<Duration> {
    let beyond = failures.checked_sub(free)?;
    // 2^6 s is more than the longest pause.
    Some((FIRST_PAUSE * (1 << beyond.min(6))).min(LONGEST_PAUSE))
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::{ADDRESS_FAILURES, ENTRIES, Guard, USER_FAILURES};
    use std::net::IpAddr;
    use std::time::{Duration, SystemTime};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn a_user_waits_longer_and_longer() {
        let mut guard = Guard::default();
        for _ in 0..USER_FAILURES - 1 {
            guard.failed("a", None, at(0));
            assert_eq!(guard.pause("a", None, at(0)), None);
        }
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            guard.failed("a", None, at(0));
            assert_eq!(guard.pause("a", None, at(0)), Some(Duration::from_secs(seconds)));
        }
        assert_eq!(guard.pause("b", None, at(0)), None);
        assert_eq!(guard.pause("a", None, at(59)), Some(Duration::from_secs(1)));
        assert_eq!(guard.pause("a", None, at(60)), None);
        guard.succeeded("a");
        assert_eq!(guard.pause("a", None, at(0)), None);
    }

    #[test]
    fn an_address_waits_whatever_user_it_claims() {
        let mut guard = Guard::default();
        let address = |text: &str| -> Option<IpAddr> { Some(text.parse().unwrap()) };
        for number in 0..ADDRESS_FAILURES {
            guard.failed(&number.to_string(), address("2001:db8::1"), at(0));
        }
        assert!(guard.pause("other", address("2001:db8::2"), at(0)).is_some(), "its network");
        assert!(guard.pause("other", address("2001:db8:0:1::1"), at(0)).is_none());
        assert!(guard.pause("other", None, at(0)).is_none());
        guard.succeeded("other");
        assert!(guard.pause("other", address("2001:db8::2"), at(0)).is_some());
        assert!(guard.pause("other", address("2001:db8::2"), at(1)).is_none());
    }

    #[test]
    fn it_does_not_keep_names() {
        let mut guard = Guard::default();
        let long = "x".repeat(60_000);
        for _ in 0..USER_FAILURES {
            guard.failed(&long, None, at(0));
        }
        assert!(guard.pause(&long, None, at(0)).is_some());
        assert!(guard.pause(&long[1..], None, at(0)).is_none());
        let kept = format!("{guard:?}");
        assert!(kept.len() < 1000 && !kept.contains("xx"), "{} bytes", kept.len());
    }

    #[test]
    fn it_remembers_a_bounded_number() {
        let mut guard = Guard::default();
        for number in 0..2 * ENTRIES as u64 {
            guard.failed(&number.to_string(), None, at(number / 1000));
        }
        assert!(guard.failures.len() <= ENTRIES);
        for _ in 0..USER_FAILURES {
            guard.failed("last", None, at(100));
        }
        assert!(guard.pause("last", None, at(100)).is_some());
    }
}
