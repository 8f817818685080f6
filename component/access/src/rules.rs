//! Who may do what: `REGISTRY_AUTH_RULES`.
//!
//! Statements stand on lines of their own, or have `;` between them:
//!
//! ```text
//! @team = alice, bob, claim:repository=acme/app&ref=refs/heads/main
//! anonymous  pull               public/**
//! @team      pull,push,catalog  team/**, shared
//! admin      all                **
//! ```
//!
//! A rule grants actions on repositories to callers. What no rule allows is
//! denied.

use crate::pattern::{Pattern, like};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Longest text of all rules, in bytes.
///
/// Limit: bytes of all rules; test: `mistakes`; setting:
/// `REGISTRY_AUTH_RULES`.
const TEXT_LIMIT: usize = 256 * 1024;

/// Members of a group, with those of the groups in it, and users that a grant
/// names, at most.
///
/// Limit: members of a group or a grant; test: `mistakes`.
const MEMBERS_LIMIT: usize = 10_000;

/// What a rule can allow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Action {
    /// Read manifests, blobs, tags and referrers.
    Pull,
    /// Upload blobs and manifests.
    Push,
    /// Delete manifests, tags and blobs.
    Delete,
    /// See the repository in `_catalog`, if it can be pulled too.
    Catalog,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pull, Self::Push, Self::Delete, Self::Catalog];

    /// The word that rules and token scopes have for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::Catalog => "catalog",
        }
    }

    /// The action that a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The caller of a request, as far as it is authenticated.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Subject {
    /// The user, by a password or a token of this registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The common name of a client certificate that the server verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The claims of a CI job's token.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
}

impl Subject {
    /// Whether the caller is not authenticated.
    pub fn is_anonymous(&self) -> bool {
        self.user.is_none() && self.certificate.is_none() && self.claims.is_empty()
    }
}

/// Who may do what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules(Vec<Grant>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Grant {
    who: Vec<Who>,
    what: BTreeSet<Action>,
    repositories: Vec<Pattern>,
}

/// The callers that a grant is for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Who {
    /// `anonymous`: everyone.
    Everyone,
    /// `*`: every user.
    EveryUser,
    /// `alice`.
    User(String),
    /// `cert:builder.example`.
    Certificate(String),
    /// `claim:repository=acme/app&ref=refs/heads/*`.
    Claims(Vec<(String, String)>),
}

impl Rules {
    /// Reads rules.
    ///
    /// # Errors
    /// What is wrong with which statement.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_LIMIT {
            return Err(format!("rules have at most {TEXT_LIMIT} bytes"));
        }
        let statements = text.lines().map(uncommented).flat_map(|line| line.split(';'));
        let (mut groups, mut grants) = (BTreeMap::new(), Vec::new());
        for statement in statements.map(str::trim).filter(|statement| !statement.is_empty()) {
            let parsed = match statement.strip_prefix('@').and_then(|rest| rest.split_once('=')) {
                // A grant to a group may hold `=` too, in a claim after it.
                Some((name, members)) if !name.trim().contains(char::is_whitespace) => {
                    group(name.trim(), members, &groups)
                        .map(|members| drop(groups.insert(name.trim().to_owned(), members)))
                }
                _ => grant(statement, &groups).map(|grant| grants.push(grant)),
            };
            parsed.map_err(|problem| format!("{statement:?}: {problem}"))?;
        }
        Ok(Self(grants))
    }

    /// Whether someone may do something with a repository.
    pub fn permit(&self, subject: &Subject, action: Action, repository: &str) -> bool {
        self.0.iter().any(|grant| {
            grant.what.contains(&action)
                && grant.who.iter().any(|who| who.is(subject))
                && grant.repositories.iter().any(|pattern| pattern.fits(repository))
        })
    }

    /// Whether someone may do something with any repository at all.
    pub fn permit_any(&self, subject: &Subject, action: Action) -> bool {
        let allows = |grant: &&Grant| grant.what.contains(&action);
        self.0.iter().filter(allows).any(|grant| grant.who.iter().any(|who| who.is(subject)))
    }

    /// Whether someone may do something with all repositories: by a rule for `**`.
    pub fn permit_everywhere(&self, subject: &Subject, action: Action) -> bool {
        self.0.iter().any(|grant| {
            grant.what.contains(&action)
                && grant.who.iter().any(|who| who.is(subject))
                && grant.repositories.iter().any(Pattern::fits_all)
        })
    }

    /// Whether any rule names this client certificate.
    pub fn know_certificate(&self, name: &str) -> bool {
        self.callers().any(|who| matches!(who, Who::Certificate(known) if known == name))
    }

    /// The users that rules name, by themselves or as members of groups.
    pub fn users(&self) -> BTreeSet<&str> {
        let users = self.callers().filter_map(|who| match who {
            Who::User(name) => Some(name.as_str()),
            _ => None,
        });
        users.collect()
    }

    /// Whether a rule is for users: for all of them, or for one by name.
    pub fn are_for_users(&self) -> bool {
        self.callers().any(|who| matches!(who, Who::EveryUser | Who::User(_)))
    }

    /// Whether a rule is for client certificates.
    pub fn are_for_certificates(&self) -> bool {
        self.callers().any(|who| matches!(who, Who::Certificate(_)))
    }

    /// Whether a rule is for the claims of CI jobs.
    pub fn are_for_jobs(&self) -> bool {
        self.callers().any(|who| matches!(who, Who::Claims(_)))
    }

    fn callers(&self) -> impl Iterator<Item = &Who> {
        self.0.iter().flat_map(|grant| &grant.who)
    }

    /// Whether anything is allowed without authentication.
    pub fn allow_anonymous(&self) -> bool {
        Action::ALL.into_iter().any(|action| self.permit_any(&Subject::default(), action))
    }
}

fn uncommented(line: &str) -> &str {
    line.split_once('#').map_or(line, |(before, _)| before)
}

fn group(
    name: &str,
    members: &str,
    groups: &BTreeMap<String, Vec<Who>>,
) -> Result<Vec<Who>, String> {
    if name.is_empty() {
        return Err("a group has a name, as in @team = alice, bob".to_owned());
    }
    if groups.contains_key(name) {
        return Err(format!("@{name} is defined twice"));
    }
    who(members, groups)
}

fn grant(statement: &str, groups: &BTreeMap<String, Vec<Who>>) -> Result<Grant, String> {
    const FORM: &str =
        "a rule says who, what and where, as in: alice pull,push team/**; lists have commas";
    // Spaces after commas are part of a list, and others end it.
    let mut fields: Vec<String> = vec![String::new()];
    for word in statement.replace(',', " , ").split_whitespace() {
        let field = fields.last().map_or("", String::as_str);
        if word != "," && !field.is_empty() && !field.ends_with(',') {
            fields.push(String::new());
        }
        if let Some(field) = fields.last_mut() {
            field.push_str(word);
        }
    }
    let [subjects, actions, repositories] = fields.as_slice() else {
        return Err(FORM.to_owned());
    };
    let mut what = BTreeSet::new();
    for word in items(actions) {
        match Action::parse(word) {
            Some(action) => drop(what.insert(action)),
            None if word == "all" => what.extend(Action::ALL),
            None => {
                return Err(format!(
                    "{word:?} is not an action: pull, push, delete, catalog or all"
                ));
            }
        }
    }
    let repositories: Vec<_> = items(repositories).map(Pattern::parse).collect::<Result<_, _>>()?;
    let who = who(subjects, groups)?;
    if who.is_empty() || what.is_empty() || repositories.is_empty() {
        return Err(FORM.to_owned());
    }
    Ok(Grant { who, what, repositories })
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn who(list: &str, groups: &BTreeMap<String, Vec<Who>>) -> Result<Vec<Who>, String> {
    let mut all = Vec::new();
    for item in items(list) {
        if all.len() > MEMBERS_LIMIT {
            return Err(format!("a list has at most {MEMBERS_LIMIT} members"));
        }
        if let Some(name) = item.strip_prefix('@') {
            let members = groups.get(name);
            all.extend(members.ok_or_else(|| format!("@{name} is not defined above"))?.clone());
        } else if let Some(name) = item.strip_prefix("cert:") {
            all.push(Who::Certificate(name.to_owned()));
        } else if let Some(claims) = item.strip_prefix("claim:") {
            let claims = claims.split('&').map(|claim| {
                let (name, value) = claim.split_once('=')?;
                let any = value.bytes().all(|byte| byte == b'*');
                (!name.is_empty() && !any).then(|| (name.to_owned(), value.to_owned()))
            });
            let claims = claims.collect::<Option<_>>().ok_or_else(|| {
                format!("{item:?}: claims have values, as in claim:repository=acme/app&ref=refs/heads/main")
            })?;
            all.push(Who::Claims(claims));
        } else if item == "anonymous" {
            all.push(Who::Everyone);
        } else if item == "*" {
            all.push(Who::EveryUser);
        } else if item.contains(|c: char| c.is_whitespace() || c == ':') {
            return Err(format!("{item:?} is not a user name"));
        } else {
            all.push(Who::User(item.to_owned()));
        }
    }
    Ok(all)
}

impl Who {
    fn is(&self, subject: &Subject) -> bool {
        match self {
            Self::Everyone => true,
            Self::EveryUser => subject.user.is_some(),
            Self::User(name) => subject.user.as_ref() == Some(name),
            Self::Certificate(name) => subject.certificate.as_ref() == Some(name),
            Self::Claims(wanted) => wanted.iter().all(|(name, pattern)| {
                subject.claims.get(name).is_some_and(|value| like(pattern, value))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, Rules, Subject};

    fn user(name: &str) -> Subject {
        Subject { user: Some(name.to_owned()), ..Subject::default() }
    }

    #[test]
    fn grants() {
        let rules = Rules::parse(
            "@team = alice, bob # the team
             @all = @team, carol; anonymous pull public/**
             @team pull, push,catalog team/**, shared
             carol all team/*-app; * pull read/a*c*e
             cert:node1 pull **
             claim:repository=acme/app&ref=refs/heads/* push acme/app",
        )
        .unwrap();
        let job = |repository: &str, reference: &str| {
            let claims = [("repository", repository), ("ref", reference)];
            let claims = claims.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
            Subject { claims, ..Subject::default() }
        };
        let certificate = Subject { certificate: Some("node1".to_owned()), ..Subject::default() };
        let anonymous = Subject::default();
        for (subject, action, repository, permitted) in [
            (&anonymous, Action::Pull, "public/a", true),
            (&anonymous, Action::Pull, "public/a/b/c", true),
            (&anonymous, Action::Pull, "public", true),
            (&anonymous, Action::Pull, "publico", false),
            (&anonymous, Action::Push, "public/a", false),
            (&anonymous, Action::Pull, "read/abcde", false),
            (&user("x"), Action::Pull, "public/a", true),
            (&user("x"), Action::Pull, "read/abcde", true),
            (&user("x"), Action::Pull, "read/ace", true),
            (&user("x"), Action::Pull, "read/ac", false),
            (&user("x"), Action::Pull, "read/ab/cde", false),
            (&user("bob"), Action::Push, "team/x/y", true),
            (&user("bob"), Action::Catalog, "shared", true),
            (&user("bob"), Action::Push, "shared/x", false),
            (&user("bob"), Action::Delete, "team/x", false),
            (&user("carol"), Action::Delete, "team/my-app", true),
            (&user("carol"), Action::Delete, "team/my/my-app", false),
            (&user("node1"), Action::Pull, "team/x", false),
            (&certificate, Action::Pull, "team/x", true),
            (&certificate, Action::Push, "team/x", false),
            (&job("acme/app", "refs/heads/main"), Action::Push, "acme/app", true),
            (&job("acme/app2", "refs/heads/main"), Action::Push, "acme/app", false),
            (&job("acme/app", "refs/tags/v1"), Action::Push, "acme/app", false),
            (&job("acme/app", "refs/heads/main"), Action::Pull, "read/ace", false),
        ] {
            let found = rules.permit(subject, action, repository);
            assert_eq!(found, permitted, "{subject:?} {action} {repository}");
        }
        for (subject, action, permitted) in [
            (&certificate, Action::Pull, true),
            (&certificate, Action::Delete, false),
            (&user("carol"), Action::Delete, false),
            (&user("bob"), Action::Pull, false),
            (&anonymous, Action::Pull, false),
        ] {
            let found = rules.permit_everywhere(subject, action);
            assert_eq!(found, permitted, "{subject:?} {action}");
        }
        assert!(rules.allow_anonymous());
        assert!(!Rules::parse("* pull **").unwrap().allow_anonymous());
    }

    #[test]
    fn mistakes() {
        // Each group has twice the members of the one before it.
        let doubled = (1..40).map(|n| format!("@g{n} = @g{0}, @g{0}", n - 1));
        let doubled: Vec<_> = doubled.collect();
        let doubled = format!("@g0 = alice\n{}", doubled.join("\n"));
        for (text, expected) in [
            ("alice pull", "who, what and where"),
            ("alice pull a b", "who, what and where"),
            ("alice read **", "\"read\" is not an action"),
            ("@team pull **", "@team is not defined above"),
            ("@a = b; @a = c", "defined twice"),
            ("alice pull UPPER", "not a repository pattern"),
            ("alice pull a**", "not a repository pattern"),
            ("alice pull /a", "not a repository pattern"),
            ("group:a pull a", "not a user name"),
            ("claim:sub pull a", "claims have values"),
            ("claim:sub=* pull a", "claims have values"),
            (&doubled, "at most 10000 members"),
            (&"alice pull a\n".repeat(20_165), "at most 262144 bytes"),
        ] {
            let problem = Rules::parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }
}
