//! Decides about the tags of a repository, by their times alone.

use super::settings::{KeepTags, RetentionPolicy};
use std::fmt;
use std::time::{Duration, SystemTime};

/// How much later than it is recorded a tag may have been pulled last: pulls are recorded once
/// a day.
///
/// Limit: how exactly it is recorded when a tag was pulled; test: `what_is_known_of_pulls`.
const PULLS_ARE_EXACT_TO: Duration = Duration::from_hours(24);

/// For how long pulls must have been recorded before a tag expires because others were pulled
/// more recently.
///
/// Limit: time for which pulls are recorded before their number decides; test:
/// `what_is_known_of_pulls`.
const PULLS_COUNT_AFTER: Duration = Duration::from_hours(30 * 24);

/// A tag, with what is known of it by the storage's clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TagTimes {
    /// The tag.
    pub tag: String,
    /// When it was pushed last; 1970 if that is not known.
    pub pushed: SystemTime,
    /// When it was pulled last, as far as that was recorded.
    pub pulled: Option<SystemTime>,
}

/// The times that a decision is by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// Now, by the storage's clock.
    pub now: SystemTime,
    /// Since when pulls are recorded for these repositories, if they are.
    pub recorded: Option<SystemTime>,
}

/// What keeps a tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// The item of `keeptags` has no rule, and keeps all that its patterns fit.
    Always,
    /// `mostrecentlypushedcount`.
    PushedCount(usize),
    /// `pushedwithin`.
    PushedWithin(Duration),
    /// `mostrecentlypulledcount`.
    PulledCount(usize),
    /// `pulledwithin`.
    PulledWithin(Duration),
}

/// Whether a rule keeps a tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It does.
    Keeps,
    /// It does, as pulls have not been recorded for long enough to say otherwise.
    Unknown,
    /// It does not.
    Fails,
}

/// What a rule says of a tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Which item of `keeptags` has the rule, from 1.
    pub item: usize,
    /// The rule.
    pub rule: Rule,
    /// What it says.
    pub outcome: Outcome,
}

/// Why a tag is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// No pattern of the policy fits it.
    NoPattern,
    /// It was pushed since, or nobody knows when, or an undo has brought it back.
    NoTime,
    /// A rule keeps it: the first one.
    Rule(Finding),
}

/// What is decided of a tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It stays.
    Kept(Why),
    /// No rule keeps it.
    Expires,
}

/// A policy that was applied to the tags of a repository.
#[derive(Debug)]
pub struct Judged<'a> {
    policy: &'a RetentionPolicy,
    times: Times,
    /// For each item of `keeptags`, the times from which on a tag is one of the most recently
    /// pushed, or pulled; `None` if all are.
    least: Vec<[Option<SystemTime>; 2]>,
}

impl RetentionPolicy {
    /// Applies the policy to all tags of a repository.
    pub fn judge(&self, tags: &[TagTimes], times: Times) -> Judged<'_> {
        let least = self.keep_tags.iter().map(|keep| {
            let fitting = || tags.iter().filter(|tag| keep.fits(&tag.tag));
            let pushed = keep.pushed_count.and_then(|count| {
                nth(count, fitting().map(|tag| tag.pushed).filter(|time| is_known(*time, times)))
            });
            let pulled = keep.pulled_count.and_then(|count| {
                let known = fitting().filter_map(|tag| tag.pulled);
                nth(count, known.filter(|time| is_known(*time, times)))
            });
            [pushed, pulled]
        });
        Judged { policy: self, times, least: least.collect() }
    }
}

/// Whether a time is in the past, and not that of a file that has none.
fn is_known(time: SystemTime, times: Times) -> bool {
    time <= times.now && time > SystemTime::UNIX_EPOCH
}

/// The time of the last of so many, the latest first, if there are more than that.
fn nth(count: usize, times: impl Iterator<Item = SystemTime>) -> Option<SystemTime> {
    let mut times: Vec<SystemTime> = times.collect();
    if times.len() <= count {
        return None;
    }
    times.sort_unstable_by_key(|time| std::cmp::Reverse(*time));
    times.get(count.checked_sub(1)?).copied()
}

impl Judged<'_> {
    /// What is decided of a tag.
    pub fn verdict(&self, tag: &TagTimes) -> Verdict {
        if !is_known(tag.pushed, self.times) {
            return Verdict::Kept(Why::NoTime);
        }
        let findings = self.findings(tag);
        let keeps = findings.iter().find(|finding| finding.outcome != Outcome::Fails);
        match (keeps, findings.is_empty()) {
            (Some(finding), _) => Verdict::Kept(Why::Rule(*finding)),
            (None, true) => Verdict::Kept(Why::NoPattern),
            (None, false) => Verdict::Expires,
        }
    }

    /// What each rule says that is about a tag.
    pub fn findings(&self, tag: &TagTimes) -> Vec<Finding> {
        let mut findings = Vec::new();
        let items = self.policy.keep_tags.iter().zip(&self.least);
        for ((keep, least), item) in items.zip(1..).filter(|((keep, _), _)| keep.fits(&tag.tag)) {
            let before = findings.len();
            let rules = self.rules(keep, *least, tag);
            findings.extend(rules.into_iter().flatten().map(|(rule, outcome)| Finding {
                item,
                rule,
                outcome,
            }));
            if findings.len() == before {
                findings.push(Finding { item, rule: Rule::Always, outcome: Outcome::Keeps });
            }
        }
        findings
    }

    /// The rules of an item of `keeptags`, with what they say of a tag that it is about.
    fn rules(
        &self,
        keep: &KeepTags,
        [pushed, pulled]: [Option<SystemTime>; 2],
        tag: &TagTimes,
    ) -> [Option<(Rule, Outcome)>; 4] {
        let now = self.times.now;
        // What is of the future keeps.
        let age = |time: SystemTime| now.duration_since(time).unwrap_or_default();
        let recorded =
            |least: Duration| self.times.recorded.is_some_and(|since| age(since) >= least);
        let of = |keeps: bool, known: bool| match (keeps, known) {
            (true, _) => Outcome::Keeps,
            (false, true) => Outcome::Fails,
            (false, false) => Outcome::Unknown,
        };
        [
            keep.pushed_count.map(|count| {
                let keeps = pushed.is_none_or(|least| tag.pushed >= least);
                (Rule::PushedCount(count), of(keeps, true))
            }),
            keep.pushed_within
                .map(|within| (Rule::PushedWithin(within), of(age(tag.pushed) <= within, true))),
            keep.pulled_count.map(|count| {
                let keeps = |time| pulled.is_none_or(|least| time >= least);
                let keeps = tag.pulled.is_some_and(keeps);
                (Rule::PulledCount(count), of(keeps, recorded(PULLS_COUNT_AFTER)))
            }),
            keep.pulled_within.map(|within| {
                let least = within + PULLS_ARE_EXACT_TO;
                let keeps = tag.pulled.is_some_and(|time| age(time) <= least);
                (Rule::PulledWithin(within), of(keeps, recorded(least)))
            }),
        ]
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("no rule, so all that its patterns fit"),
            Self::PushedCount(count) => write!(f, "mostrecentlypushedcount {count}"),
            Self::PushedWithin(time) => write!(f, "pushedwithin {}", written(*time)),
            Self::PulledCount(count) => write!(f, "mostrecentlypulledcount {count}"),
            Self::PulledWithin(time) => write!(f, "pulledwithin {}", written(*time)),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keeps => "keeps it",
            Self::Unknown => "keeps it, as pulls have not been recorded for long enough",
            Self::Fails => "does not keep it",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keeptags {}: {}: {}", self.item, self.rule, self.outcome)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPattern => f.write_str("no pattern of keeptags fits it"),
            Self::NoTime => f.write_str(
                "when it was pushed is not known, or later than now, or an undo brought it back",
            ),
            Self::Rule(finding) => finding.fmt(f),
        }
    }
}

/// A time in the largest unit without a rest.
fn written(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [("d", 24 * 3600), ("h", 3600), ("m", 60)];
    let unit =
        units.into_iter().find(|(_, unit)| seconds >= *unit && seconds.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{seconds}s"), |(unit, of)| format!("{}{unit}", seconds / of))
}

#[cfg(test)]
mod tests {
    use super::{Finding, Outcome, Rule, TagTimes, Times, Verdict, Why};
    use crate::Retention;
    use std::time::{Duration, SystemTime};

    const DAY: u64 = 24 * 3600;
    const NOW: u64 = 1000 * DAY;

    fn before(days: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW - days * DAY)
    }

    /// A tag, pushed and perhaps pulled so many days ago.
    fn tag(tag: &str, pushed: u64, pulled: Option<u64>) -> TagTimes {
        TagTimes { tag: tag.to_owned(), pushed: before(pushed), pulled: pulled.map(before) }
    }

    /// What expires, with pulls recorded for so many days.
    fn expired(keep_tags: &str, tags: &[TagTimes], recorded: Option<u64>) -> String {
        let text = format!(r#"{{"repositories": "**", "keeptags": [{keep_tags}]}}"#);
        let retention = Retention::parse(&text, false).unwrap();
        let times = Times { now: before(0), recorded: recorded.map(before) };
        let judged = retention.policy("a").unwrap().judge(tags, times);
        let expired = tags.iter().filter(|tag| judged.verdict(tag) == Verdict::Expires);
        expired.map(|tag| tag.tag.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn which_tags_expire() {
        let tags = [
            tag("v1", 50, None),
            tag("v2", 40, Some(5)),
            tag("v3", 30, Some(45)),
            tag("v4", 20, None),
            tag("main", 60, None),
            tag("pr-1", 10, None),
            tag("pr-2", 2, Some(1)),
        ];
        for (keep_tags, expected) in [
            // What no pattern fits stays, and so does all where there is no rule.
            ("", ""),
            (r#"{"patterns": "x.*", "mostrecentlypushedcount": 1}"#, ""),
            (r#"{"patterns": "v.*"}"#, ""),
            (r#"{"patterns": "v.*", "mostrecentlypushedcount": 2}"#, "v1 v2"),
            (r#"{"patterns": "v.*", "mostrecentlypushedcount": 4}"#, ""),
            (r#"{"patterns": ["v.*", "!v1"], "mostrecentlypushedcount": 2}"#, "v2"),
            (r#"{"patterns": "v.*", "pushedwithin": "30d"}"#, "v1 v2"),
            (r#"{"patterns": "v.*", "pushedwithin": "719h"}"#, "v1 v2 v3"),
            (r#"{"pushedwithin": "10d"}"#, "v1 v2 v3 v4 main"),
            // Rules are alternatives, in one item and in several.
            (r#"{"patterns": "v.*", "mostrecentlypushedcount": 1, "pulledwithin": "9d"}"#, "v1 v3"),
            (r#"{"patterns": "v.*", "mostrecentlypulledcount": 1}"#, "v1 v3 v4"),
            (r#"{"patterns": "v.*", "mostrecentlypulledcount": 2}"#, "v1 v4"),
            (r#"{"patterns": "v.*", "mostrecentlypulledcount": 9}"#, "v1 v4"),
            (
                r#"{"patterns": "v.*", "mostrecentlypushedcount": 1}, {"pushedwithin": "45d"}"#,
                "v1 main",
            ),
            (r#"{"mostrecentlypushedcount": 1}, {"patterns": "v.*|main"}"#, "pr-1"),
        ] {
            assert_eq!(expired(keep_tags, &tags, Some(900)), expected, "{keep_tags}");
        }
    }

    /// Whatever is in doubt stays.
    #[test]
    fn times_that_say_nothing() {
        let future = TagTimes { pushed: before(0) + Duration::from_secs(1), ..tag("new", 0, None) };
        let none = TagTimes { pushed: SystemTime::UNIX_EPOCH, ..tag("none", 0, None) };
        let tags = [future, none, tag("a", 5, None), tag("b", 5, None), tag("c", 6, None)];
        // They take no place among the most recent ones, and what is as old as the last stays.
        let one = r#"{"mostrecentlypushedcount": 1}"#;
        assert_eq!(expired(one, &tags, None), "c");
        assert_eq!(expired(r#"{"pushedwithin": "1d"}"#, &tags, None), "a b c");
    }

    #[test]
    fn what_is_known_of_pulls() {
        let later =
            TagTimes { pulled: Some(before(0) + Duration::from_secs(9)), ..tag("l", 90, None) };
        let tags = [tag("a", 90, None), tag("b", 90, Some(11)), tag("c", 90, Some(12)), later];
        let within = r#"{"pulledwithin": "10d"}"#;
        for (rules, recorded, expected) in [
            (within, None, ""),
            (within, Some(10), ""),
            // Pulls are recorded once a day, so it may have been pulled a day later.
            (within, Some(11), "a c"),
            (r#"{"mostrecentlypulledcount": 1}"#, None, ""),
            (r#"{"mostrecentlypulledcount": 1}"#, Some(29), ""),
            (r#"{"mostrecentlypulledcount": 1}"#, Some(30), "a c"),
        ] {
            assert_eq!(expired(rules, &tags, recorded), expected, "{rules} {recorded:?}");
        }
    }

    #[test]
    fn reasons() {
        let text = r#"{"repositories": "**", "keeptags": [
            {"patterns": "v.*", "mostrecentlypushedcount": 1, "pulledwithin": "36h"},
            {"patterns": "v1"}]}"#;
        let retention = Retention::parse(text, false).unwrap();
        let tags = [tag("v1", 9, None), tag("v2", 1, None), tag("w", 9, None)];
        let times = Times { now: before(0), recorded: None };
        let judged = retention.policy("a").unwrap().judge(&tags, times);
        let said: Vec<String> = judged.findings(&tags[0]).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "keeptags 1: mostrecentlypushedcount 1: does not keep it",
                "keeptags 1: pulledwithin 36h: keeps it, as pulls have not been recorded for long \
                 enough",
                "keeptags 2: no rule, so all that its patterns fit: keeps it",
            ]
        );
        let first = Finding { item: 1, rule: Rule::PushedCount(1), outcome: Outcome::Keeps };
        assert_eq!(judged.verdict(&tags[1]), Verdict::Kept(Why::Rule(first)));
        assert_eq!(judged.verdict(&tags[2]), Verdict::Kept(Why::NoPattern));
    }
}
