//! How many files and sockets the process may have open, and how they are divided:
//! clients must not use up what storage needs.

/// Descriptors that neither clients nor requests get: of the log, the runtime, the
/// component's code, certificates.
///
/// Limit: descriptors kept for the process itself; test: `idle_connections_leave_descriptors_to_storage`.
const OWN: u64 = 64;

/// What part of the rest connections get: each can have a response's file open, and
/// a second descriptor of its socket.
const FOR_CONNECTIONS: u64 = 4;

/// What part streams of HTTP/2 get: each can have a file open.
const FOR_STREAMS: u64 = 8;

/// What part requests in flight get: each can have an upload's files open.
const FOR_TURNS: u64 = 16;

/// What every system allows if it allows more than now: macOS's `OPEN_MAX`.
#[cfg(unix)]
const MODEST: u64 = 10_240;

/// How many of each there can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shares {
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    pub(crate) turns: usize,
}

/// Raises the limit of descriptors as far as this process may, and divides it.
pub(crate) fn divide() -> Shares {
    shares(raise())
}

fn shares(limit: u64) -> Shares {
    let rest = limit.saturating_sub(OWN);
    let part = |of: u64| usize::try_from(rest / of).unwrap_or(usize::MAX).max(1);
    Shares {
        connections: part(FOR_CONNECTIONS),
        streams: part(FOR_STREAMS),
        turns: part(FOR_TURNS),
    }
}

#[cfg(unix)]
fn raise() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Some systems have a limit of their own below the one that they name.
    let most = maximum.unwrap_or(u64::MAX);
    for wanted in [maximum, Some(most.min(MODEST))] {
        if current.is_some_and(|current| wanted.is_none_or(|wanted| wanted > current))
            && setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum }).is_ok()
        {
            break;
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
fn raise() -> u64 {
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::{Shares, shares};

    #[test]
    fn storage_has_descriptors_left() {
        assert_eq!(shares(1024), Shares { connections: 240, streams: 120, turns: 60 });
        assert_eq!(shares(10), Shares { connections: 1, streams: 1, turns: 1 });
        assert!(shares(u64::MAX).connections > 1_000_000);
    }
}
