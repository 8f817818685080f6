//! A level of the tree of repositories, and searches, from the names in lexical order.

/// A text that comes after every character of a name.
const LAST: &str = "\u{7f}";

/// How many names of repositories in groups are kept for one answer.
///
/// Limit: repositories in groups that are measured for an answer to the page; test: `groups_keep_some_names`.
const MEMBERS: usize = 2000;

/// An entry of a level.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// Repositories whose names begin alike.
    Group(Group),
    /// A repository.
    Repository(String),
}

/// Repositories whose names begin alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Group {
    /// What they begin with, with a slash at its end.
    pub(super) name: String,
    /// How many they are.
    pub(super) repositories: usize,
    /// Their names: fewer, if all groups together have more than [`MEMBERS`].
    pub(super) members: Vec<String>,
}

impl Found {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Group(Group { name, .. }) | Self::Repository(name) => name,
        }
    }
}

/// A page of a level, or of a search, as it is found.
#[derive(Debug)]
pub(super) struct Level<'a> {
    under: &'a str,
    /// A text in lower case that names contain: then there are no groups.
    search: Option<&'a str>,
    /// The most entries.
    limit: usize,
    pub(super) entries: Vec<Found>,
    /// How many repositories there are, as far as they were visited.
    pub(super) total: usize,
    /// How many names of repositories in groups are kept.
    members: usize,
    /// Whether there are entries after the last.
    more: bool,
}

impl<'a> Level<'a> {
    pub(super) fn new(under: &'a str, search: Option<&'a str>, limit: usize) -> Self {
        Self { under, search, limit, entries: Vec::new(), total: 0, members: 0, more: false }
    }

    /// Where the names begin that come after an entry: after this text.
    pub(super) fn after(&self, last: Option<&str>) -> Option<String> {
        let last = match last {
            // All of a group was counted with it.
            Some(group) if group.ends_with('/') && self.search.is_none() => {
                format!("{group}{LAST}")
            }
            Some(name) => name.to_owned(),
            None => String::new(),
        };
        let after = last.max(self.under.to_owned());
        (!after.is_empty()).then_some(after)
    }

    /// Counts a repository that is before the page.
    pub(super) fn count(&mut self, name: &str) {
        self.total += usize::from(self.is_of(name));
    }

    /// Takes the next repository.
    pub(super) fn take(&mut self, name: &str) {
        if !self.is_of(name) {
            return;
        }
        self.total += 1;
        let rest = name.strip_prefix(self.under).unwrap_or_default();
        let group = match rest.split_once('/') {
            Some((first, _)) if self.search.is_none() => Some(format!("{}{first}/", self.under)),
            _ => None,
        };
        let is_last = group.is_some() && self.entries.last().map(Found::name) == group.as_deref();
        if !is_last && self.entries.len() == self.limit {
            self.more = true;
            return;
        }
        let Some(group) = group else {
            return self.entries.push(Found::Repository(name.to_owned()));
        };
        if !is_last {
            let (repositories, members) = (0, Vec::new());
            self.entries.push(Found::Group(Group { name: group, repositories, members }));
        }
        if let Some(Found::Group(group)) = self.entries.last_mut() {
            group.repositories += 1;
            if self.members < MEMBERS {
                self.members += 1;
                group.members.push(name.to_owned());
            }
        }
    }

    /// The entry after which the next page begins, if `visited` is the last name that was looked
    /// at, and there are more.
    pub(super) fn next(&self, visited: Option<&str>) -> Option<String> {
        let last = self.entries.last().map(Found::name);
        if self.more {
            return last.map(str::to_owned);
        }
        let visited = visited?;
        // Not within the last group, which would be shown again.
        let within = last.filter(|last| last.ends_with('/') && visited.starts_with(last));
        Some(within.unwrap_or(visited).to_owned())
    }

    /// Notes that the last group may have more repositories than were visited.
    pub(super) fn cut(&mut self, visited: &str) {
        if let Some(Found::Group(group)) = self.entries.last_mut()
            && visited.starts_with(&group.name)
        {
            group.members.clear();
        }
    }

    fn is_of(&self, name: &str) -> bool {
        name.starts_with(self.under) && self.search.is_none_or(|text| name.contains(text))
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, Group, Level, MEMBERS};

    const NAMES: [&str; 9] =
        ["a", "team", "team-x/a", "team/a", "team/a-b", "team/a/b", "team/a/c/d", "team/b/x", "z"];

    fn page(under: &str, search: Option<&str>, last: Option<&str>, limit: usize) -> Vec<String> {
        let mut level = Level::new(under, search, limit);
        let after = level.after(last).unwrap_or_default();
        for name in NAMES.iter().filter(|name| **name > after.as_str()) {
            if !name.starts_with(under) && *name > under {
                break;
            }
            level.take(name);
        }
        let next = level.next(None);
        let mut found: Vec<_> = level.entries.iter().map(show).collect();
        found.extend(next.map(|next| format!("next {next}")));
        found
    }

    fn show(found: &Found) -> String {
        match found {
            Found::Group(group) => format!("{} {}", group.name, group.repositories),
            Found::Repository(name) => name.clone(),
        }
    }

    #[test]
    fn levels() {
        assert_eq!(page("", None, None, 10), ["a", "team", "team-x/ 1", "team/ 5", "z"]);
        assert_eq!(page("team/", None, None, 10), ["team/a", "team/a-b", "team/a/ 2", "team/b/ 1"]);
        assert_eq!(page("team/a/", None, None, 10), ["team/a/b", "team/a/c/ 1"]);
        assert!(page("none/", None, None, 10).is_empty());
    }

    #[test]
    fn pages() {
        assert_eq!(page("", None, None, 3), ["a", "team", "team-x/ 1", "next team-x/"]);
        assert_eq!(page("", None, Some("team-x/"), 1), ["team/ 5", "next team/"]);
        assert_eq!(page("", None, Some("team/"), 3), ["z"]);
        assert!(page("", None, Some("z"), 3).is_empty());
        // A place before the level, and one after it.
        assert_eq!(page("team/a/", None, Some("b"), 1), ["team/a/b", "next team/a/b"]);
        assert!(page("team/a/", None, Some("z"), 1).is_empty());
    }

    #[test]
    fn searches() {
        let found = page("", Some("a/"), None, 10);
        assert_eq!(found, ["team/a/b", "team/a/c/d"]);
        assert_eq!(page("team/", Some("b"), None, 2), ["team/a-b", "team/a/b", "next team/a/b"]);
        assert_eq!(page("team/", Some("b"), Some("team/a/b"), 2), ["team/b/x"]);
    }

    #[test]
    fn groups_keep_some_names() {
        let mut level = Level::new("", None, 10);
        level.take("a/x");
        level.take("a/y");
        for at in 0..MEMBERS {
            level.take(&format!("b/{at}"));
        }
        level.take("c/x");
        let kept: Vec<_> = level
            .entries
            .iter()
            .filter_map(|found| match found {
                Found::Group(group) => Some((group.repositories, group.members.len())),
                Found::Repository(_) => None,
            })
            .collect();
        assert_eq!(kept, [(2, 2), (MEMBERS, MEMBERS - 2), (1, 0)]);
    }

    #[test]
    fn where_a_page_goes_on_that_ended_early() {
        let mut level = Level::new("", None, 10);
        level.take("team/a");
        level.take("team/b");
        assert_eq!(level.next(Some("team/b")).as_deref(), Some("team/"));
        level.cut("team/b");
        let group = Group { name: "team/".to_owned(), repositories: 2, members: Vec::new() };
        assert_eq!(level.entries, [Found::Group(group)], "it may have others");
        level.take("z");
        assert_eq!(level.next(Some("zz")).as_deref(), Some("zz"));
        assert_eq!((level.total, level.entries.len()), (3, 2));
    }
}
