//! Reads policies of retention. Each is a map, with the words that zot has for it:
//!
//! ```yaml
//! - repositories: [team/**, "!team/scratch/**"]
//!   deleteuntagged: true
//!   keepuntagged: {pushedwithin: 7d}
//!   keeptags:
//!     - patterns: [v[0-9].*]
//!       mostrecentlypushedcount: 10
//!       pulledwithin: 90d
//! ```
//!
//! They come as JSON: a file's maps are written so, and a variable has a list of them.

use super::values::{count, flag, keys, list, unknown, within};
use crate::immutable::{Patterns, TagPattern};
use crate::pattern::Pattern;
use serde_json::{Deserializer, Value};
use std::time::Duration;

/// Longest text of all policies, in bytes.
///
/// Limit: bytes of all policies of retention; test: `mistakes_in_policies`; setting:
/// `REGISTRY_POLICY_RETENTION_POLICIES`.
const TEXT_LIMIT: usize = 64 * 1024;

/// The most policies.
///
/// Limit: policies of retention; test: `mistakes_in_policies`; setting:
/// `REGISTRY_POLICY_RETENTION_POLICIES`.
const POLICIES_LIMIT: usize = 100;

/// The most `keeptags` of a policy.
///
/// Limit: `keeptags` of a policy of retention; test: `mistakes_in_policies`; setting:
/// `REGISTRY_POLICY_RETENTION_POLICIES`.
const KEEP_LIMIT: usize = 20;

/// How old an untagged manifest is when it goes, where a policy does not say: as with
/// `storage.maintenance.gc.deleteuntagged`.
///
/// Limit: age at which untagged manifests go by a policy that does not say; test: `policies_are_read`.
const UNTAGGED_AGE: Duration = Duration::from_hours(24);

/// Which tags expire.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Retention {
    /// Whether nothing is removed by it.
    dry_run: bool,
    policies: Vec<RetentionPolicy>,
}

/// A policy of [`Retention`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetentionPolicy {
    /// Its place among all, from 1.
    number: usize,
    /// The patterns as they were given.
    text: String,
    repositories: Patterns<Pattern>,
    pub(super) keep_tags: Vec<KeepTags>,
    delete_untagged: bool,
    delete_referrers: bool,
    untagged_age: Duration,
}

/// Tags, and what keeps them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct KeepTags {
    /// All, if there are none.
    patterns: Option<Patterns<TagPattern>>,
    pub(super) pushed_count: Option<usize>,
    pub(super) pulled_count: Option<usize>,
    pub(super) pushed_within: Option<Duration>,
    pub(super) pulled_within: Option<Duration>,
}

impl Retention {
    /// Reads policies: maps as JSON, or lists of them, one after the other.
    ///
    /// # Errors
    /// What is wrong with which key.
    pub fn parse(text: &str, dry_run: bool) -> Result<Self, String> {
        if text.len() > TEXT_LIMIT {
            return Err(format!("policies have at most {TEXT_LIMIT} bytes"));
        }
        let mut maps = Vec::new();
        // Items of a list that are empty count as a comment.
        let text: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        for value in Deserializer::from_str(&text.join("\n")).into_iter::<Value>() {
            match value.map_err(|error| format!("not a list of policies as JSON: {error}"))? {
                Value::Array(values) => maps.extend(values),
                value => maps.push(value),
            }
        }
        if maps.len() > POLICIES_LIMIT {
            return Err(format!("there are at most {POLICIES_LIMIT} policies"));
        }
        let policies = maps.iter().enumerate();
        let policies = policies.map(|(at, map)| RetentionPolicy::parse(at, map));
        Ok(Self { dry_run, policies: policies.collect::<Result<_, _>>()? })
    }

    /// Whether nothing is removed by it.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// The policy for a repository, if there is one: the first.
    pub fn policy(&self, repository: &str) -> Option<&RetentionPolicy> {
        let fits =
            |policy: &&RetentionPolicy| policy.repositories.fit(|pattern| pattern.fits(repository));
        self.policies.iter().find(fits)
    }

    /// Whether tags of any repository may expire.
    pub fn has_tags(&self) -> bool {
        self.policies.iter().any(RetentionPolicy::has_tags)
    }

    /// Whether untagged manifests of any repository go.
    pub fn deletes_untagged(&self) -> bool {
        !self.dry_run && self.policies.iter().any(|policy| policy.delete_untagged)
    }

    /// The age at which untagged manifests of a repository go, if they do, and whether
    /// referrers whose subject goes stay.
    pub fn untagged(&self, repository: &str) -> Option<(Duration, bool)> {
        let policy = self.policy(repository).filter(|_| !self.dry_run)?;
        policy.delete_untagged.then_some((policy.untagged_age, !policy.delete_referrers))
    }

    /// Whether it matters when tags of a repository were pulled.
    pub fn asks_for_pulls(&self, repository: &str) -> bool {
        self.policy(repository).is_some_and(RetentionPolicy::asks_for_pulls)
    }

    /// For which repositories pulls are recorded, as a text that changes when these do; `None`
    /// if for none.
    pub fn recorded(&self) -> Option<String> {
        let last = self.policies.iter().rposition(RetentionPolicy::asks_for_pulls)?;
        let lines = self.policies.iter().take(last + 1).map(|policy| {
            format!("{} {}\n", if policy.asks_for_pulls() { '+' } else { '-' }, policy.text)
        });
        Some(lines.collect())
    }
}

impl RetentionPolicy {
    /// Its place among all policies, from 1, and its repositories, as it is shown.
    pub fn name(&self) -> String {
        format!("{} ({})", self.number, self.text)
    }

    /// Whether tags may expire by it.
    pub fn has_tags(&self) -> bool {
        !self.keep_tags.is_empty()
    }

    /// Whether it matters when tags were pulled.
    pub fn asks_for_pulls(&self) -> bool {
        let by_pulls =
            |keep: &KeepTags| keep.pulled_count.is_some() || keep.pulled_within.is_some();
        self.keep_tags.iter().any(by_pulls)
    }

    fn parse(at: usize, value: &Value) -> Result<Self, String> {
        let mut policy = Self {
            number: at + 1,
            text: String::new(),
            repositories: Patterns::none(),
            keep_tags: Vec::new(),
            delete_untagged: false,
            delete_referrers: true,
            untagged_age: UNTAGGED_AGE,
        };
        let (mut untagged, mut has_repositories) = (None, false);
        for (place, key, value) in keys(&format!("[{at}]"), value, "a policy")? {
            let wrong = |problem: String| format!("{place}: {problem}");
            match key.as_str() {
                "repositories" => {
                    policy.text = list(value).map_err(wrong)?.join(",");
                    policy.repositories =
                        Patterns::parse(&policy.text, Pattern::parse).map_err(wrong)?;
                    has_repositories = true;
                }
                "deleteuntagged" => policy.delete_untagged = flag(value).map_err(wrong)?,
                "deletereferrers" => policy.delete_referrers = flag(value).map_err(wrong)?,
                "keepuntagged" => untagged = Some(keep_untagged(&place, value)?),
                "keeptags" => {
                    let Value::Array(all) = value else {
                        return Err(wrong("must be a list, whose items have patterns".to_owned()));
                    };
                    if all.len() > KEEP_LIMIT {
                        return Err(wrong(format!("has at most {KEEP_LIMIT} items")));
                    }
                    let all = all.iter().enumerate();
                    let all =
                        all.map(|(at, keep)| KeepTags::parse(&format!("{place}[{at}]"), keep));
                    policy.keep_tags = all.collect::<Result<_, _>>()?;
                }
                _ => return Err(unknown(&place, POLICY_KEYS)),
            }
        }
        if !has_repositories {
            return Err(format!("[{at}] needs repositories, such as team/** or **"));
        }
        if let Some(age) = untagged {
            if !policy.delete_untagged {
                return Err(format!("[{at}].keepuntagged needs deleteuntagged: true"));
            }
            policy.untagged_age = age;
        }
        Ok(policy)
    }
}

/// The keys of a policy.
const POLICY_KEYS: &str =
    "repositories, keeptags, deleteuntagged, deletereferrers and keepuntagged";

/// The keys of an item of `keeptags`.
const KEEP_KEYS: &str = "patterns, mostrecentlypushedcount, mostrecentlypulledcount, pushedwithin \
                         and pulledwithin";

impl KeepTags {
    fn parse(place: &str, value: &Value) -> Result<Self, String> {
        let mut keep = Self {
            patterns: None,
            pushed_count: None,
            pulled_count: None,
            pushed_within: None,
            pulled_within: None,
        };
        for (place, key, value) in keys(place, value, "an item of keeptags")? {
            let wrong = |problem: String| format!("{place}: {problem}");
            match key.as_str() {
                "patterns" => {
                    let text = list(value).map_err(wrong)?.join(",");
                    let parsed = Patterns::parse(&text, TagPattern::parse);
                    keep.patterns = Some(parsed.map_err(wrong)?);
                }
                "mostrecentlypushedcount" => keep.pushed_count = Some(count(value).map_err(wrong)?),
                "mostrecentlypulledcount" => keep.pulled_count = Some(count(value).map_err(wrong)?),
                "pushedwithin" => keep.pushed_within = Some(within(value).map_err(wrong)?),
                "pulledwithin" => keep.pulled_within = Some(within(value).map_err(wrong)?),
                _ => return Err(unknown(&place, KEEP_KEYS)),
            }
        }
        Ok(keep)
    }

    /// Whether it is about a tag.
    pub(super) fn fits(&self, tag: &str) -> bool {
        self.patterns.as_ref().is_none_or(|patterns| patterns.fit(|pattern| pattern.fits(tag)))
    }
}

/// Untagged manifests are kept by age alone: what they are pulled by is not recorded.
fn keep_untagged(place: &str, value: &Value) -> Result<Duration, String> {
    let mut age = UNTAGGED_AGE;
    for (place, key, value) in keys(place, value, "keepuntagged")? {
        match key.as_str() {
            "pushedwithin" => {
                age = within(value).map_err(|problem| format!("{place}: {problem}"))?;
            }
            _ => return Err(unknown(&place, "pushedwithin alone")),
        }
    }
    Ok(age)
}

#[cfg(test)]
mod tests {
    use super::{POLICIES_LIMIT, Retention};
    use std::time::Duration;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn policies_are_read() {
        let read = Retention::parse(
            r#"[{"repositories": ["team/**", "!team/x"], "deleteUntagged": true,
                 "keepUntagged": {"pushedWithin": "7d"},
                 "keepTags": [{"patterns": "v[0-9]{1,2},w", "mostRecentlyPushedCount": "10"}]}]
               {"repositories": "a , b", "keeptags": [{"pulledwithin": "720h", "patterns": null}]}
               {"repositories": "**", "deleteuntagged": "true", "deletereferrers": false}"#,
            false,
        );
        let read = read.unwrap();
        let name = |repository| read.policy(repository).map(super::RetentionPolicy::name);
        for (repository, expected) in [
            ("team/app", "1 (team/**,!team/x)"),
            ("team/x", "3 (**)"),
            ("b", "2 (a,b)"),
            ("c", "3 (**)"),
        ] {
            assert_eq!(name(repository).as_deref(), Some(expected), "{repository}");
        }
        assert_eq!(read.untagged("team/app"), Some((7 * DAY, false)));
        assert_eq!(read.untagged("c"), Some((DAY, true)));
        assert_eq!(read.untagged("a"), None);
        assert!(read.asks_for_pulls("a") && !read.asks_for_pulls("c"));
        assert!(read.has_tags() && read.deletes_untagged());
        assert_eq!(read.recorded().as_deref(), Some("- team/**,!team/x\n+ a,b\n"));
        let keep = &read.policy("team/app").unwrap().keep_tags[0];
        assert!(keep.fits("v12") && keep.fits("w") && !keep.fits("v123") && !keep.fits("v"));
        assert_eq!(keep.pushed_count, Some(10));
        assert!(read.policy("a").unwrap().keep_tags[0].fits("anything"));
        let dry = Retention { dry_run: true, ..read };
        assert!(dry.untagged("c").is_none() && !dry.deletes_untagged() && dry.has_tags());
        for nothing in ["", " \n", "[]", "#\n# x"] {
            assert_eq!(Retention::parse(nothing, false), Ok(Retention::default()), "{nothing}");
        }
    }

    #[test]
    fn mistakes_in_policies() {
        let keep = |text: &str| format!(r#"{{"repositories": "a", "keeptags": [{{{text}}}]}}"#);
        let many = r#"{"repositories": "a"}"#.repeat(POLICIES_LIMIT + 1);
        let items = vec!["{}"; 21].join(",");
        for (text, expected) in [
            ("{", "not a list of policies as JSON"),
            ("team/** keep", "not a list of policies as JSON"),
            ("7", "[0]: a policy is a map"),
            ("[[]]", "[0]: a policy is a map"),
            ("{}", "[0] needs repositories"),
            (r#"{"repositories": []}"#, "[0].repositories: has no pattern"),
            (r#"{"repositories": 7}"#, "[0].repositories: must be a list of patterns"),
            (r#"{"repositories": ["A"]}"#, "[0].repositories: \"A\" is not a repository pattern"),
            (r#"{"Repository": "a"}"#, "[0].Repository is not a setting; there are repositories,"),
            (r#"{"repositories": "a", "Repositories": "b"}"#, "[0] has repositories twice"),
            (r#"{"repositories": "a", "keeptags": {}}"#, "[0].keeptags: must be a list"),
            (
                r#"{"repositories": "a"} {"repositories": "a", "deleteuntagged": 1}"#,
                "[1].deleteuntagged: must be true or false",
            ),
            (
                r#"{"repositories": "a", "keepuntagged": {"pushedwithin": "1d"}}"#,
                "[0].keepuntagged needs deleteuntagged",
            ),
            (
                r#"{"repositories": "a", "keepuntagged": {"mostrecentlypushedcount": 1}}"#,
                "[0].keepuntagged.mostrecentlypushedcount is not a setting; there are pushedwithin",
            ),
            (&keep(r#""pattern": "a""#), "[0].keeptags[0].pattern is not a setting; there are"),
            (&keep(r#""patterns": ["("]"#), "[0].keeptags[0].patterns: \"(\" is not a regular"),
            (&keep(r#""mostrecentlypushedcount": 0"#), "must be a number from 1 to 1000000"),
            (&keep(r#""mostRecentlyPulledCount": -1"#), "[0].keeptags[0].mostRecentlyPulledCount:"),
            (&keep(r#""pushedwithin": "30"#), "not a list of policies as JSON"),
            (&keep(r#""pushedwithin": "30""#), "must be a time such as 720h or 30d"),
            (&keep(r#""pulledwithin": "40000d""#), "must be a time such as"),
            (&many, "at most 100 policies"),
            (&format!(r#"{{"repositories": "a", "keeptags": [{items}]}}"#), "has at most 20 items"),
            (&" ".repeat(70_000), "at most 65536 bytes"),
        ] {
            let problem = Retention::parse(text, true).unwrap_err();
            assert!(problem.contains(expected), "{text:.100}: {problem}");
        }
    }
}
