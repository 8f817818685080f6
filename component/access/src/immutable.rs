//! Which tags never change: `REGISTRY_POLICY_IMMUTABLE`.
//!
//! Statements stand on lines of their own, or have `;` between them:
//!
//! ```text
//! releases  team/**, !team/scratch/**  v[0-9].*, !.*-rc[0-9]+
//! pinned    mirror/**                  .*                      deletable
//! ```
//!
//! A rule has a name, repositories and tags. Repositories are patterns as in the rules of
//! access, and tags regular expressions that fit the whole tag. What `!` stands before is an
//! exception; a list of nothing but exceptions is for all others.

use crate::pattern::Pattern;
use regex_lite::{Regex, RegexBuilder};
use std::fmt;

/// Longest text of all rules, in bytes.
///
/// Limit: bytes of all rules of immutable tags; test: `mistakes`; setting:
/// `REGISTRY_POLICY_IMMUTABLE`.
const TEXT_LIMIT: usize = 64 * 1024;

/// The most rules.
///
/// Limit: rules of immutable tags; test: `mistakes`; setting: `REGISTRY_POLICY_IMMUTABLE`.
const RULES_LIMIT: usize = 100;

/// The most memory of a compiled pattern of tags, in bytes.
///
/// Limit: memory of a pattern of tags, in bytes; test: `mistakes`.
const PATTERN_LIMIT: usize = 256 * 1024;

/// The longest name of a rule, in bytes: responses repeat it.
///
/// Limit: bytes of the name of a rule of immutable tags; test: `mistakes`.
const NAME_LIMIT: usize = 64;

/// What a rule looks like.
const FORM: &str = "a rule has a name, repositories and tags, as in: releases team/** v[0-9].*; \
                    lists have commas, ! is for exceptions, and `deletable` may follow";

/// Which tags never change.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Immutable(Vec<ImmutableRule>);

/// A rule of [`Immutable`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImmutableRule {
    name: String,
    repositories: Patterns<Pattern>,
    tags: Patterns<TagPattern>,
    deletable: bool,
}

/// Patterns, and exceptions from them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Patterns<P> {
    /// All, if there is none.
    pub(crate) these: Vec<P>,
    but: Vec<P>,
}

/// A regular expression that fits whole tags.
#[derive(Clone, Debug)]
pub(crate) struct TagPattern(Regex);

impl PartialEq for TagPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for TagPattern {}

impl ImmutableRule {
    /// Its name, for whoever is refused.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether tags that it fits can be deleted.
    pub fn is_deletable(&self) -> bool {
        self.deletable
    }

    fn fits(&self, repository: &str, tag: &str) -> bool {
        self.repositories.fit(|pattern| pattern.fits(repository))
            && self.tags.fit(|pattern| pattern.fits(tag))
    }

    fn parse(statement: &str) -> Result<Self, String> {
        let fields = fields(statement);
        let (name, repositories, tags, deletable) = match fields.as_slice() {
            [name, repositories, tags] => (name, repositories, tags, false),
            [name, repositories, tags, last] if last == "deletable" => {
                (name, repositories, tags, true)
            }
            _ => return Err(FORM.to_owned()),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.len() > NAME_LIMIT || !name.bytes().all(plain) {
            return Err(format!(
                "{name:?} is not the name of a rule: at most {NAME_LIMIT} of A-Z, a-z, 0-9, '.', \
                 '_' and '-'; {FORM}"
            ));
        }
        let repositories = Patterns::parse(repositories, Pattern::parse)?;
        let tags = Patterns::parse(tags, TagPattern::parse)?;
        Ok(Self { name: name.clone(), repositories, tags, deletable })
    }
}

impl Immutable {
    /// Reads rules.
    ///
    /// # Errors
    /// What is wrong with which statement.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_LIMIT {
            return Err(format!("rules have at most {TEXT_LIMIT} bytes"));
        }
        let statements = text.lines().map(uncommented).flat_map(|line| line.split(';'));
        let mut rules: Vec<ImmutableRule> = Vec::new();
        for statement in statements.map(str::trim).filter(|statement| !statement.is_empty()) {
            let parsed = ImmutableRule::parse(statement);
            let rule = parsed.map_err(|problem| format!("{statement:?}: {problem}"))?;
            if rules.iter().any(|known| known.name == rule.name) {
                return Err(format!("{statement:?}: there are two rules {}", rule.name));
            }
            if rules.len() == RULES_LIMIT {
                return Err(format!("there are at most {RULES_LIMIT} rules"));
            }
            rules.push(rule);
        }
        Ok(Self(rules))
    }

    /// The rule by which a tag of a repository never changes, if there is one: the first.
    pub fn rule(&self, repository: &str, tag: &str) -> Option<&ImmutableRule> {
        self.0.iter().find(|rule| rule.fits(repository, tag))
    }

    /// The rule by which a tag of a repository cannot be deleted, if there is one: the first.
    pub fn keeps(&self, repository: &str, tag: &str) -> Option<&ImmutableRule> {
        self.0.iter().find(|rule| !rule.deletable && rule.fits(repository, tag))
    }

    /// Whether some tags of a repository may be ones that cannot be deleted.
    pub fn may_keep(&self, repository: &str) -> bool {
        let rules = self.0.iter().filter(|rule| !rule.deletable);
        rules.into_iter().any(|rule| rule.repositories.fit(|pattern| pattern.fits(repository)))
    }
}

impl<P> Patterns<P> {
    /// A list that is yet to be read.
    pub(crate) fn none() -> Self {
        Self { these: Vec::new(), but: Vec::new() }
    }

    /// Reads a list of patterns.
    ///
    /// # Errors
    /// What is wrong with which pattern.
    pub(crate) fn parse(
        list: &str,
        parse: impl Fn(&str) -> Result<P, String>,
    ) -> Result<Self, String> {
        let (mut these, mut but) = (Vec::new(), Vec::new());
        for item in items(list) {
            if item == "!" {
                return Err("an exception names something, as in !latest".to_owned());
            }
            match item.strip_prefix('!') {
                Some(exception) => but.push(parse(exception)?),
                None => these.push(parse(item)?),
            }
        }
        if these.is_empty() && but.is_empty() {
            return Err("a list names something, as in team/**".to_owned());
        }
        Ok(Self { these, but })
    }

    /// Whether something fits one of them, and no exception.
    pub(crate) fn fit(&self, fits: impl Fn(&P) -> bool) -> bool {
        (self.these.is_empty() || self.these.iter().any(&fits)) && !self.but.iter().any(&fits)
    }
}

impl TagPattern {
    /// Whether it fits a whole tag.
    pub(crate) fn fits(&self, tag: &str) -> bool {
        self.0.is_match(tag)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let compile = |text: &str| RegexBuilder::new(text).size_limit(PATTERN_LIMIT).build();
        // By itself first: with what is around it, `a)(b` would be one too.
        let compiled = compile(text).and_then(|_| compile(&format!("^(?:{text})$")));
        compiled.map(Self).map_err(|error| {
            format!("{text:?} is not a regular expression for tags, such as v[0-9].*: {error}")
        })
    }
}

pub(crate) fn uncommented(line: &str) -> &str {
    line.split_once('#').map_or(line, |(before, _)| before)
}

/// The fields of a statement. Spaces beside commas are part of a list, and others end it.
pub(crate) fn fields(statement: &str) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    for word in statement.split_whitespace() {
        match fields.last_mut() {
            Some(field) if field.ends_with(',') || word.starts_with(',') => field.push_str(word),
            _ => fields.push(word.to_owned()),
        }
    }
    fields
}

/// The items of a list: commas are between them, but for those within braces (`[0-9]{1,3}`).
pub(crate) fn items(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let items = list.split(move |character| {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    items.filter(|item| !item.is_empty())
}

impl fmt::Display for ImmutableRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Immutable, ImmutableRule, RULES_LIMIT};

    #[test]
    fn tags_that_never_change() {
        let rules = Immutable::parse(
            "releases  team/**, !team/scratch/**  v[0-9].*, !.*-rc[0-9]+ # no candidates
             dated     nightly/*                  [0-9]{4}-[0-9]{2,2}-[0-9]{2}   deletable
             mirrors   mirror/** , cache          !latest,!edge ; old a,b 1|2
             twice     cache                      stable                  deletable",
        )
        .unwrap();
        for (repository, tag, rule, kept) in [
            ("team/app", "v1.0", Some("releases"), true),
            ("team", "v1", Some("releases"), true),
            ("team/a/b", "v1.0-rc1", None, false),
            ("team/app", "v1.0-rc", Some("releases"), true),
            ("team/app", "xv1", None, false),
            ("team/app", "v", None, false),
            ("team/scratch/a", "v1", None, false),
            ("teams", "v1", None, false),
            ("nightly/a", "2026-11-30", Some("dated"), false),
            ("nightly/a", "2026-11-301", None, false),
            ("nightly/a/b", "2026-11-30", None, false),
            ("mirror/a", "1", Some("mirrors"), true),
            ("mirror/a", "latest", None, false),
            ("mirror/a", "latest-1", Some("mirrors"), true),
            ("mirror/a", "edge", None, false),
            // The whole tag, although the alternatives have no parentheses.
            ("a", "1", Some("old"), true),
            ("b", "2", Some("old"), true),
            ("b", "12", None, false),
            // Two rules: it can be deleted if both say so.
            ("cache", "stable", Some("mirrors"), true),
        ] {
            let found = rules.rule(repository, tag).map(ImmutableRule::name);
            assert_eq!(found, rule, "{repository}:{tag}");
            assert_eq!(rules.keeps(repository, tag).is_some(), kept, "{repository}:{tag}");
            assert!(!kept || rules.may_keep(repository), "{repository}");
        }
        assert!(!rules.may_keep("nightly/a") && !rules.may_keep("c"));
        assert_eq!(Immutable::parse("# none").unwrap(), Immutable::default());
    }

    #[test]
    fn mistakes() {
        let many: Vec<_> = (0..=RULES_LIMIT).map(|n| format!("r{n} ** v1")).collect();
        for (text, expected) in [
            ("releases", "a name, repositories and tags"),
            ("releases team/**", "a name, repositories and tags"),
            ("releases team/** v1 v2", "a name, repositories and tags"),
            ("releases team/** v1 deletable 1", "a name, repositories and tags"),
            ("releases , v1", "a name, repositories and tags"),
            ("team/** v1 v2", "not the name of a rule"),
            (&format!("{} ** v1", "a".repeat(65)), "not the name of a rule"),
            ("releases TEAM v1", "not a repository pattern"),
            ("releases !a** v1", "not a repository pattern"),
            ("releases ** *", "not a regular expression"),
            ("releases ** v(1", "not a regular expression"),
            ("releases ** a)(b", "not a regular expression"),
            ("releases ** !", "an exception names"),
            ("releases ** (a{100}){1000}", "not a regular expression"),
            ("a ** v1; a ** v2", "two rules a"),
            (&many.join("\n"), "at most 100 rules"),
            (&"#\n".repeat(33_000), "at most 65536 bytes"),
        ] {
            let problem = Immutable::parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text:.100}: {problem}");
        }
    }
}
