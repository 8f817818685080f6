//! Adds up what repositories hold.

use roadstead_bridge::contents::{QuotasAnswer, RepositoryContents};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// How many blobs are told apart. Of a registry with more, only these are counted, and the result
/// says so.
///
/// Limit: different blobs that `du` counts; test: `blobs_are_told_apart_up_to_a_limit`.
const BLOBS: usize = 5_000_000;

/// What repositories hold, as it is read.
#[derive(Debug)]
pub(super) struct Sums {
    prefixes: Vec<String>,
    depth: Option<usize>,
    limit: usize,
    /// By the beginnings of their digests.
    blobs: HashMap<u128, Blob>,
    /// The lines, and which of them are asked for.
    lines: Vec<Line>,
    numbers: HashMap<String, u32>,
    rules: BTreeMap<String, RuleSum>,
    is_full: bool,
}

#[derive(Debug)]
struct Blob {
    size: u64,
    /// The lines that hold it, each once.
    lines: Vec<u32>,
    /// The rules, each once.
    rules: Vec<u32>,
}

/// A line of the result.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(super) struct Line {
    /// The repository, or what the names of its repositories begin with.
    pub(super) name: String,
    /// What it holds, in bytes.
    pub(super) bytes: u64,
    /// What no other line holds.
    pub(super) own: u64,
    pub(super) tags: u64,
    pub(super) manifests: u64,
    /// How many repositories it is of.
    pub(super) repositories: u64,
    /// Whether there is more than was counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) incomplete: bool,
    /// The last of its repositories that was read.
    #[serde(skip)]
    pub(super) last: String,
    #[serde(skip)]
    pub(super) is_asked_for: bool,
}

/// A quota, and how much of it is used.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Quota {
    pub(super) name: String,
    pub(super) repositories: String,
    /// By what the repositories hold now.
    pub(super) bytes: u64,
    pub(super) bytes_limit: Option<u64>,
    pub(super) tags: u64,
    pub(super) tags_limit: Option<u64>,
    /// As the registry has counted it, and admits pushes by it.
    pub(super) counted_bytes: u64,
    pub(super) counted_tags: u64,
    /// When it began to count, in seconds since 1970.
    pub(super) counted: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) incomplete: bool,
}

#[derive(Debug, Default)]
struct RuleSum {
    number: u32,
    bytes: u64,
    tags: u64,
}

/// The result.
#[derive(PartialEq, Eq, Debug, Serialize)]
pub(super) struct Usage {
    /// The largest first.
    pub(super) repositories: Vec<Line>,
    /// All that was asked for, what is shared once.
    pub(super) total: Line,
    pub(super) quotas: Vec<Quota>,
}

impl Sums {
    pub(super) fn new(prefixes: Vec<String>, depth: Option<usize>) -> Self {
        Self {
            prefixes,
            depth,
            limit: BLOBS,
            blobs: HashMap::new(),
            lines: Vec::new(),
            numbers: HashMap::new(),
            rules: BTreeMap::new(),
            is_full: false,
        }
    }

    /// Takes what a repository holds, or more of it.
    pub(super) fn take(&mut self, repository: &RepositoryContents) {
        let number = self.line(&repository.name);
        let rules: Vec<u32> =
            repository.rules.iter().map(|rule| self.rule(rule, repository.tags)).collect();
        if let Some(line) = self.lines.get_mut(number as usize) {
            line.tags += repository.tags;
            line.manifests += repository.manifests;
            line.incomplete |= repository.incomplete;
            if line.last != repository.name {
                line.repositories += 1;
                line.last.clone_from(&repository.name);
            }
        }
        for (blob, size) in &repository.blobs {
            let Ok(blob) = u128::from_str_radix(blob, 16) else { continue };
            if self.blobs.len() >= self.limit && !self.blobs.contains_key(&blob) {
                self.is_full = true;
                continue;
            }
            let new = || Blob { size: *size, lines: Vec::new(), rules: Vec::new() };
            let known = self.blobs.entry(blob).or_insert_with(new);
            known.size = known.size.max(*size);
            if !known.lines.contains(&number) {
                known.lines.push(number);
            }
            known.rules.extend(
                rules
                    .iter()
                    .filter(|rule| !known.rules.contains(rule))
                    .copied()
                    .collect::<Vec<_>>(),
            );
        }
    }

    /// The line that a repository belongs to.
    fn line(&mut self, repository: &str) -> u32 {
        let name = match self.depth {
            Some(depth) => repository.split('/').take(depth).collect::<Vec<_>>().join("/"),
            None => repository.to_owned(),
        };
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let is_below = |prefix: &String| {
            repository
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let is_asked_for = self.prefixes.is_empty() || self.prefixes.iter().any(is_below);
        let number = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
        self.lines.push(Line { name: name.clone(), is_asked_for, ..Line::default() });
        self.numbers.insert(name, number);
        number
    }

    fn rule(&mut self, name: &str, tags: u64) -> u32 {
        let number = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
        let new = || RuleSum { number, ..RuleSum::default() };
        let rule = self.rules.entry(name.to_owned()).or_insert_with(new);
        rule.tags += tags;
        rule.number
    }

    /// Adds up.
    pub(super) fn add_up(mut self, quotas: QuotasAnswer) -> Usage {
        let mut total = Line { name: "total".to_owned(), ..Line::default() };
        let mut of_rules: BTreeMap<u32, u64> = BTreeMap::new();
        for blob in self.blobs.values() {
            let (mut asked_for, mut others) = (false, false);
            for number in &blob.lines {
                let Some(line) = self.lines.get_mut(*number as usize) else { continue };
                line.bytes += blob.size;
                line.own += if blob.lines.len() == 1 { blob.size } else { 0 };
                asked_for |= line.is_asked_for;
                others |= !line.is_asked_for;
            }
            total.bytes += if asked_for { blob.size } else { 0 };
            total.own += if asked_for && !others { blob.size } else { 0 };
            for rule in &blob.rules {
                *of_rules.entry(*rule).or_default() += blob.size;
            }
        }
        for rule in self.rules.values_mut() {
            rule.bytes = of_rules.get(&rule.number).copied().unwrap_or_default();
        }
        let mut repositories: Vec<Line> =
            self.lines.into_iter().filter(|line| line.is_asked_for).collect();
        for line in &mut repositories {
            line.incomplete |= self.is_full;
            total.tags += line.tags;
            total.manifests += line.manifests;
            total.repositories += line.repositories;
            total.incomplete |= line.incomplete;
        }
        repositories.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        let quotas = quotas.quotas.into_iter().map(|quota| {
            let sum = self.rules.get(&quota.name);
            Quota {
                bytes: sum.map_or(0, |sum| sum.bytes),
                bytes_limit: quota.bytes_limit,
                tags: sum.map_or(0, |sum| sum.tags),
                tags_limit: quota.tags_limit,
                counted_bytes: quota.bytes,
                counted_tags: quota.tags,
                counted: quota.counted,
                incomplete: quota.incomplete || self.is_full,
                name: quota.name,
                repositories: quota.repositories,
            }
        });
        Usage { repositories, total, quotas: quotas.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Sums};
    use roadstead_bridge::contents::{QuotaUsage, QuotasAnswer, RepositoryContents};

    fn holds(name: &str, blobs: &[(u128, u64)], rules: &[&str]) -> RepositoryContents {
        RepositoryContents {
            name: name.to_owned(),
            manifests: 1,
            tags: 2,
            blobs: blobs.iter().map(|(blob, size)| (format!("{blob:032x}"), *size)).collect(),
            rules: rules.iter().map(|&rule| rule.to_owned()).collect(),
            incomplete: false,
        }
    }

    fn sums(prefixes: &[&str], depth: Option<usize>) -> Sums {
        let mut sums = Sums::new(prefixes.iter().map(|&prefix| prefix.to_owned()).collect(), depth);
        sums.take(&holds("a", &[(1, 100), (2, 10)], &[]));
        sums.take(&holds("a-b", &[(1, 100)], &[]));
        // In two answers.
        sums.take(&holds("a/b", &[(2, 10), (3, 1)], &["q", "r"]));
        let more =
            RepositoryContents { manifests: 0, tags: 0, ..holds("a/b", &[(4, 5)], &["q", "r"]) };
        sums.take(&more);
        sums.take(&holds("a/c", &[(3, 1)], &["q"]));
        sums
    }

    fn shown(lines: &[Line]) -> Vec<(&str, u64, u64, u64)> {
        lines
            .iter()
            .map(|line| (line.name.as_str(), line.bytes, line.own, line.repositories))
            .collect()
    }

    #[test]
    fn what_is_shared_counts_once() {
        let rule =
            |name: &str| QuotaUsage { name: name.to_owned(), bytes: 7, ..QuotaUsage::default() };
        let answer = QuotasAnswer { quotas: vec![rule("q"), rule("r"), rule("none")] };
        let usage = sums(&[], None).add_up(answer);
        assert_eq!(
            shown(&usage.repositories),
            [("a", 110, 0, 1), ("a-b", 100, 0, 1), ("a/b", 16, 5, 1), ("a/c", 1, 0, 1)]
        );
        assert_eq!((usage.total.bytes, usage.total.own, usage.total.tags), (116, 116, 8));
        let quotas: Vec<_> = usage
            .quotas
            .iter()
            .map(|quota| (quota.bytes, quota.tags, quota.counted_bytes))
            .collect();
        assert_eq!(quotas, [(16, 4, 7), (16, 2, 7), (0, 0, 7)]);

        let usage = sums(&[], Some(1)).add_up(QuotasAnswer::default());
        assert_eq!(shown(&usage.repositories), [("a", 116, 16, 3), ("a-b", 100, 0, 1)]);

        let usage = sums(&["a/b", "a/c"], None).add_up(QuotasAnswer::default());
        assert_eq!(shown(&usage.repositories), [("a/b", 16, 5, 1), ("a/c", 1, 0, 1)]);
        assert_eq!((usage.total.bytes, usage.total.own, usage.total.repositories), (16, 6, 2));
        let none = sums(&["b", "a/"], None).add_up(QuotasAnswer::default());
        assert_eq!(none.total.repositories, 0);
    }

    #[test]
    fn blobs_are_told_apart_up_to_a_limit() {
        let mut sums = Sums { limit: 2, ..Sums::new(Vec::new(), None) };
        sums.take(&holds("a", &[(1, 1), (2, 2), (3, 4)], &[]));
        let usage = sums.add_up(QuotasAnswer::default());
        assert!(usage.total.incomplete && usage.repositories[0].incomplete);
        assert_eq!(usage.total.bytes, 3);
    }
}
