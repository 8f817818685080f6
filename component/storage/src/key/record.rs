//! What garbage collection remembers between the slices of a run, and between runs.

use super::number;
use std::fmt;

/// Where records are: beside what clients push, so that no other registry sees
/// them.
pub(crate) const DIRECTORY: &str = ".roadstead/collect/";

/// What garbage collection remembers. `docs/collection.md` says what each is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Record {
    /// That something in this storage is condemned: an empty object.
    Marker,
    /// For which repositories it is recorded when tags are pulled. Its time says since when.
    Pulls,
    /// Which run goes on.
    Lease,
    /// The candidates of a shard of all digests, and since when they are.
    Sighted(Shard),
    /// When a run began: an empty object, for its time.
    Begun(u128),
    /// How far a run has come.
    State(u128),
    /// What a run has found to be live, of one shard of all digests. Numbered.
    Live(u128, Shard, u32),
    /// What a run is to do. Numbered.
    Actions(u128, u32),
    /// What a run has done.
    Report(u128),
    /// What a run has done that ended early: another one may begin at once.
    Failure(u128),
}

/// The digests that begin with one hexadecimal digit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Shard(u8);

impl Shard {
    /// All of them, in their order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..16).map(Self)
    }

    /// The one that a text of hexadecimal digits belongs to.
    pub fn of(hex: &str) -> Option<Self> {
        let digit = hex.chars().next()?.to_digit(16)?;
        u8::try_from(digit).ok().map(Self)
    }

    /// Its number, less than 16.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// The largest record, in bytes.
///
/// Limit: bytes of a record of garbage collection; test: `what_is_live_is_kept_in_parts`.
const RECORD_LIMIT: usize = 8 * 1024 * 1024;

/// The largest lease or marker, in bytes.
///
/// Limit: bytes of a collector's lease, and of the marker; test: none, ours are shorter.
const LEASE_LIMIT: usize = 256;

impl Record {
    /// The run that needs it, and that deletes it at its end.
    pub fn run(&self) -> Option<u128> {
        match self {
            Self::Begun(run) | Self::State(run) | Self::Live(run, ..) | Self::Actions(run, _) => {
                Some(*run)
            }
            Self::Marker
            | Self::Pulls
            | Self::Lease
            | Self::Sighted(_)
            | Self::Report(_)
            | Self::Failure(_) => None,
        }
    }

    /// See [`crate::Key::is_durable`]. A run that lost its records begins again.
    pub(super) fn is_durable(&self) -> bool {
        matches!(self, Self::Marker | Self::Sighted(_) | Self::Report(_) | Self::Failure(_))
    }

    /// See [`crate::Key::value_limit`].
    pub(super) fn value_limit(&self) -> usize {
        match self {
            Self::Begun(_) => 0,
            Self::Marker | Self::Lease => LEASE_LIMIT,
            _ => RECORD_LIMIT,
        }
    }

    /// Parses what [`Record`] prints.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let kind = parts.next()?;
        let rest: Vec<&str> = parts.collect();
        let shard = |text: &str| Shard::of(text).filter(|_| text.len() == 1);
        let record = match (kind, rest.as_slice()) {
            ("condemned", []) => Self::Marker,
            ("lease", []) => Self::Lease,
            ("pulls", []) => Self::Pulls,
            ("sighted", [digit]) => Self::Sighted(shard(digit)?),
            ("begun", [run]) => Self::Begun(number(run)?),
            ("state", [run]) => Self::State(number(run)?),
            ("live", [run, digit, part]) => {
                Self::Live(number(run)?, shard(digit)?, part.parse().ok()?)
            }
            ("actions", [run, part]) => Self::Actions(number(run)?, part.parse().ok()?),
            ("report", [run]) => Self::Report(number(run)?),
            ("failure", [run]) => Self::Failure(number(run)?),
            _ => return None,
        };
        // Such as leading zeros.
        (record.to_string() == text).then_some(record)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Marker => f.write_str("condemned"),
            Self::Lease => f.write_str("lease"),
            Self::Pulls => f.write_str("pulls"),
            Self::Sighted(shard) => write!(f, "sighted-{shard}"),
            Self::Begun(run) => write!(f, "begun-{run:032x}"),
            Self::State(run) => write!(f, "state-{run:032x}"),
            Self::Live(run, shard, part) => write!(f, "live-{run:032x}-{shard}-{part}"),
            Self::Actions(run, part) => write!(f, "actions-{run:032x}-{part}"),
            Self::Report(run) => write!(f, "report-{run:032x}"),
            Self::Failure(run) => write!(f, "failure-{run:032x}"),
        }
    }
}
