//! How much repositories may hold: `REGISTRY_POLICY_QUOTAS`.
//!
//! Statements stand on lines of their own, or have `;` between them:
//!
//! ```text
//! team     team/**, !team/scratch/**  50GiB  1000 tags
//! scratch  team/scratch/**            5GiB
//! ```
//!
//! A rule has a name, repositories and limits: bytes, tags or both. Repositories are patterns as
//! in the rules of access; what `!` stands before is an exception. All repositories that a rule is
//! for share its limits.

use crate::immutable::{Patterns, fields, uncommented};
use crate::pattern::Pattern;

/// Longest text of all rules, in bytes.
///
/// Limit: bytes of all rules of quotas; test: `mistakes`; setting: `REGISTRY_POLICY_QUOTAS`.
const TEXT_LIMIT: usize = 64 * 1024;

/// The most rules.
///
/// Limit: rules of quotas; test: `mistakes`; setting: `REGISTRY_POLICY_QUOTAS`.
const RULES_LIMIT: usize = 100;

/// The longest name of a rule, in bytes: responses repeat it, and what is counted is kept in a
/// directory of this name.
///
/// Limit: bytes of the name of a rule of quotas; test: `mistakes`; setting:
/// `REGISTRY_POLICY_QUOTAS`.
const NAME_LIMIT: usize = 64;

/// What a rule looks like.
const FORM: &str = "a rule has a name, repositories and limits, as in: team team/** 50GiB 1000 tags; \
                    lists have commas, and ! is for exceptions";

/// The units of bytes.
const UNITS: [(&str, u64); 10] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
];

/// How much repositories may hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Quotas(Vec<QuotaRule>);

/// A rule of [`Quotas`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuotaRule {
    name: String,
    repositories: Patterns<Pattern>,
    text: String,
    bytes: Option<u64>,
    tags: Option<u64>,
}

impl QuotaRule {
    /// Its name, for whoever is refused.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The patterns of its repositories, as they were written: what was counted for the same text
    /// is of the same repositories.
    pub fn repositories(&self) -> &str {
        &self.text
    }

    /// How many bytes its repositories may hold.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// How many tags they may have.
    pub fn tags(&self) -> Option<u64> {
        self.tags
    }

    /// Whether it is for a repository.
    pub fn fits(&self, repository: &str) -> bool {
        self.repositories.fit(|pattern| pattern.fits(repository))
    }

    /// What the names of its repositories begin with that come first and last: nothing is in
    /// order before the one, and after the other but for what begins with it.
    pub fn bounds(&self) -> (String, String) {
        let mut prefixes = self.repositories.these.iter().map(Pattern::prefix);
        let Some(first) = prefixes.next() else { return Default::default() };
        prefixes.fold((first.clone(), first), |(least, most), prefix| {
            // What begins with the shorter one goes on after all that begins with the longer one.
            let most = if most.starts_with(&prefix) || prefix.starts_with(&most) {
                most.min(prefix.clone())
            } else {
                most.max(prefix.clone())
            };
            (least.min(prefix), most)
        })
    }

    fn parse(statement: &str) -> Result<Self, String> {
        let fields = fields(statement);
        let [name, repositories, limits @ ..] = fields.as_slice() else {
            return Err(FORM.to_owned());
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !begins || name.len() > NAME_LIMIT || !name.bytes().all(plain) {
            return Err(format!(
                "{name:?} is not the name of a rule: at most {NAME_LIMIT} of A-Z, a-z, 0-9, '.', \
                 '_' and '-', the first a letter or a digit; {FORM}"
            ));
        }
        let patterns = Patterns::parse(repositories, Pattern::parse)?;
        let (bytes, tags) = limits_of(limits)?;
        let (name, text) = (name.clone(), repositories.clone());
        Ok(Self { name, repositories: patterns, text, bytes, tags })
    }
}

/// Limits, each a number with a unit, with or without a space between.
fn limits_of(words: &[String]) -> Result<(Option<u64>, Option<u64>), String> {
    let (mut bytes, mut tags) = (None, None);
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let end = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
        let (digits, unit) = word.split_at(end);
        let unit = if unit.is_empty() { words.next().unwrap_or_default() } else { unit };
        let none = || {
            let shown = format!("{digits}{unit}");
            format!(
                "{shown:?} is not a limit: a number with KiB, MiB, GiB, TiB, PiB, kB, MB, GB, TB, PB \
                 or tags, as in 50GiB or 1000 tags; {FORM}"
            )
        };
        let number: u64 = digits.parse().map_err(|_| none())?;
        let factor = UNITS.iter().find(|(known, _)| *known == unit).map(|(_, factor)| *factor);
        let (place, limit) = match (factor, unit) {
            (Some(factor), _) => (&mut bytes, number.checked_mul(factor).ok_or_else(none)?),
            (None, "tag" | "tags") => (&mut tags, number),
            _ => return Err(none()),
        };
        if limit == 0 {
            return Err(format!(
                "a limit is 1 at least; to forbid pushes, use rules of access; {FORM}"
            ));
        }
        if place.replace(limit).is_some() {
            return Err(format!("there are two limits of the same kind; {FORM}"));
        }
    }
    if bytes.is_none() && tags.is_none() {
        return Err(FORM.to_owned());
    }
    Ok((bytes, tags))
}

impl Quotas {
    /// Reads rules.
    ///
    /// # Errors
    /// What is wrong with which statement.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_LIMIT {
            return Err(format!("rules have at most {TEXT_LIMIT} bytes"));
        }
        let statements = text.lines().map(uncommented).flat_map(|line| line.split(';'));
        let mut rules: Vec<QuotaRule> = Vec::new();
        for statement in statements.map(str::trim).filter(|statement| !statement.is_empty()) {
            let parsed = QuotaRule::parse(statement);
            let rule = parsed.map_err(|problem| format!("{statement:?}: {problem}"))?;
            // Some file systems do not tell case apart.
            if rules.iter().any(|known| known.name.eq_ignore_ascii_case(&rule.name)) {
                return Err(format!("{statement:?}: there are two rules {}", rule.name));
            }
            if rules.len() == RULES_LIMIT {
                return Err(format!("there are at most {RULES_LIMIT} rules"));
            }
            rules.push(rule);
        }
        Ok(Self(rules))
    }

    /// All rules, in the order in which they are written.
    pub fn all(&self) -> &[QuotaRule] {
        &self.0
    }

    /// The rules that are for a repository.
    pub fn rules(&self, repository: &str) -> impl Iterator<Item = &QuotaRule> {
        self.0.iter().filter(move |rule| rule.fits(repository))
    }
}

#[cfg(test)]
mod tests {
    use super::{QuotaRule, Quotas, RULES_LIMIT};

    #[test]
    fn repositories_and_limits() {
        let quotas = Quotas::parse(
            "team     team/**, !team/scratch/**  50GiB  1000 tags # both
             scratch  team/scratch/** , tmp/*    1 tag; all ** 2TB
             words    a                          5 MiB 3tags",
        )
        .unwrap();
        let limits: Vec<_> = quotas.all().iter().map(|rule| (rule.bytes(), rule.tags())).collect();
        assert_eq!(
            limits,
            [
                (Some(50 << 30), Some(1000)),
                (None, Some(1)),
                (Some(2_000_000_000_000), None),
                (Some(5 << 20), Some(3)),
            ]
        );
        assert_eq!(quotas.all()[1].repositories(), "team/scratch/**,tmp/*");
        for (repository, rules) in [
            ("team", "team all"),
            ("team/app", "team all"),
            ("team/scratch/a", "scratch all"),
            ("tmp/a", "scratch all"),
            ("tmp/a/b", "all"),
            ("a", "all words"),
        ] {
            let names: Vec<_> = quotas.rules(repository).map(QuotaRule::name).collect();
            assert_eq!(names.join(" "), rules, "{repository}");
        }
        assert_eq!(Quotas::parse("# none").unwrap(), Quotas::default());
    }

    /// No repository of a rule is outside.
    #[test]
    fn bounds_hold_all_repositories() {
        for (patterns, least, most) in [
            ("**", "", ""),
            ("!a", "", ""),
            ("team/**", "team", "team"),
            ("team/**,team/a", "team", "team"),
            ("team/a,team/**", "team", "team"),
            ("b,a/c,c/*", "a/c", "c"),
            ("b,**", "", ""),
            ("ab,a*", "a", "a"),
            ("a*,b", "a", "b"),
            ("a*,ab", "a", "a"),
            ("ab,b,a*", "a", "b"),
        ] {
            let quotas = Quotas::parse(&format!("q {patterns} 1GiB")).unwrap();
            let rule = &quotas.all()[0];
            assert_eq!(rule.bounds(), (least.to_owned(), most.to_owned()), "{patterns}");
            for name in ["a", "a/c", "ab", "abc", "b", "c", "c/d", "team", "team/a", "teams"] {
                let inside = *name >= *least && (name <= most || name.starts_with(most));
                assert!(!rule.fits(name) || inside, "{patterns} {name}");
            }
        }
    }

    #[test]
    fn mistakes() {
        let many: Vec<_> = (0..=RULES_LIMIT).map(|n| format!("r{n} ** 1GiB")).collect();
        for (text, expected) in [
            ("team", "a name, repositories and limits"),
            ("team team/**", "a name, repositories and limits"),
            ("team/** 50GiB 1", "not the name of a rule"),
            (".. ** 1GiB", "not the name of a rule"),
            (&format!("{} ** 1GiB", "a".repeat(65)), "not the name of a rule"),
            ("team TEAM 1GiB", "not a repository pattern"),
            ("team ! 1GiB", "an exception names"),
            ("team ** GiB", "\"GiB\" is not a limit"),
            ("team ** 50", "\"50\" is not a limit"),
            ("team ** 50 100 tags", "\"50100\" is not a limit"),
            ("team ** 1.5GiB", "\"1.5GiB\" is not a limit"),
            ("team ** 50gib", "is not a limit"),
            ("team ** 50G", "is not a limit"),
            ("team ** -1GiB", "is not a limit"),
            ("team ** 20000PiB", "is not a limit"),
            ("team ** 0 tags", "a limit is 1 at least"),
            ("team ** 1GiB 2GiB", "two limits of the same kind"),
            ("a ** 1GiB; A ** 1GiB", "two rules A"),
            (&many.join("\n"), "at most 100 rules"),
            (&"#\n".repeat(33_000), "at most 65536 bytes"),
        ] {
            let problem = Quotas::parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text:.100}: {problem}");
        }
    }
}
