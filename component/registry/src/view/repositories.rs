//! A level of the tree of repositories, or those that match a text.

use super::tree::{Found, Group, Level};
use super::{Budget, VERSION, shown_time};
use crate::RepositoriesRequest;
use crate::store::Store;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use roadstead_oci::RepositoryName;
use roadstead_storage::{
    Collection, Holding, Key, NameList, NamesQuery, Pages, Storage, StorageError,
};
use serde::Serialize;
use std::cell::Cell;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

/// How many repositories are visited for one answer.
///
/// Limit: repositories that an answer to the page visits; test: `ten_thousand_repositories`.
const NAMES: u32 = 50_000;

/// The same where each object costs a request.
///
/// Limit: repositories in a bucket that an answer to the page visits; test: `the_names_of_a_bucket`.
const BUCKET_NAMES: u32 = 2000;

/// How many are listed in one operation.
///
/// Limit: repositories that are listed in one operation for the page; test: none, more are listed
/// in steps.
const STEP: usize = 1000;

/// How many operations of the storage the sizes in an answer may take, about.
///
/// Limit: operations of the storage for the sizes in an answer to the page; test:
/// `sizes_that_take_too_much`.
const SIZES: u32 = 4000;

/// How many of them the size of one repository may take, about.
///
/// Limit: operations of the storage for the size of a repository in an answer to the page; test:
/// `sizes_that_take_too_much`.
const SIZE: u32 = 1000;

/// How many operations of the storage the sizes of groups in an answer may take, about.
///
/// Limit: operations of the storage for the sizes of groups in an answer to the page; test:
/// `groups_that_take_too_much`.
const GROUPS: u32 = 2000;

/// The same where each costs a request.
///
/// Limit: requests to a bucket for the sizes of groups in an answer to the page; test:
/// `the_names_of_a_bucket`.
const BUCKET_GROUPS: u32 = 200;

/// For how long groups are measured.
///
/// Limit: time for the sizes of groups in an answer to the page; test: none, it takes a slow storage.
const GROUPS_TIME: Duration = Duration::from_secs(1);

/// How many repositories are measured at a time.
///
/// Limit: repositories whose size is found out at a time; test: none, more are in steps.
const AT_ONCE: usize = 4;

/// How many blobs are told apart for the sizes in one answer.
///
/// Limit: different blobs that the sizes in an answer to the page count; test: none, the sizes
/// are not complete.
const BLOBS: usize = 200_000;

/// How many tags of a repository are counted.
///
/// Limit: tags of a repository that an answer to the page counts; test: none, the count is not
/// complete.
const TAGS: usize = 20_000;

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct RepositoriesView {
    version: u32,
    under: String,
    /// How many repositories there are below `under`, or match, that the caller may see.
    total: usize,
    entries: Vec<EntryView>,
    next: Option<String>,
    /// Whether `total`, and the numbers of repositories in groups, are exact.
    complete: bool,
}

/// A group, or a repository.
#[derive(Debug, Serialize)]
struct EntryView {
    kind: &'static str,
    name: String,
    /// How many a group has.
    #[serde(skip_serializing_if = "Option::is_none")]
    repositories: Option<usize>,
    tags: Option<usize>,
    size: Option<u64>,
    shared: Option<u64>,
    pushed: Option<String>,
    /// Whether everything of it was looked at.
    complete: bool,
}

/// What a repository holds, or the repositories of a group: by default, nothing is known.
#[derive(Debug, Default)]
struct Held {
    tags: Option<usize>,
    /// When one of the tags was pushed last.
    pushed: Option<SystemTime>,
    /// Blobs, by parts of their digests, with their sizes.
    blobs: HashMap<u128, u64>,
    /// Whether these are all.
    all_blobs: bool,
    /// Whether everything was looked at.
    complete: bool,
}

impl Held {
    /// The bytes of the blobs, if they are known.
    fn size(&self) -> Option<u64> {
        self.all_blobs
            .then(|| self.blobs.values().fold(0_u64, |sum, size| sum.saturating_add(*size)))
    }

    /// Adds what another one holds.
    fn add(&mut self, other: Self) {
        self.tags = self.tags.zip(other.tags).map(|(own, tags)| own + tags);
        self.pushed = self.pushed.max(other.pushed);
        self.blobs.extend(other.blobs);
    }
}

impl<S: Storage> Store<S> {
    /// A page of repositories of which `sees` says that the caller may see them.
    pub(crate) async fn repositories_view(
        &self,
        request: &RepositoriesRequest,
        sees: impl Fn(&RepositoryName) -> bool,
    ) -> Result<RepositoriesView, StorageError> {
        let mut level = Level::new(&request.under, request.search.as_deref(), request.limit);
        let budget = Budget::new(self.names_budget());
        let after = level.after(request.last.as_deref());
        let under = request.under.as_str();
        let ends = |name: &str| !name.starts_with(under) && name > under;
        let visited =
            self.walk(after.clone(), &budget, ends, &sees, |name| level.take(name)).await?;
        let next = level.next(visited.as_deref());
        if let Some(visited) = &visited {
            level.cut(visited);
        }
        let mut complete = visited.is_none();
        if let Some(after) = after.filter(|after| complete && *after != request.under) {
            // What is before the page counts too.
            let begin = (!request.under.is_empty()).then(|| request.under.clone());
            let ends = |name: &str| name > after.as_str();
            let counted = self.walk(begin, &budget, ends, &sees, |name| level.count(name));
            complete = counted.await?.is_none();
        }
        let total = level.total;
        let entries = self.entries(level.entries).await?;
        let under = request.under.clone();
        Ok(RepositoriesView { version: VERSION, under, total, entries, next, complete })
    }

    fn names_budget(&self) -> u32 {
        if self.costs_requests() { BUCKET_NAMES } else { NAMES }
    }

    /// Visits the repositories after one that the caller may see, up to the first of which `ends`
    /// says so, or until they end. If the budget ends before, gives the last name that was visited: it
    /// goes on to the next one that the caller may see, however many others have to be skipped,
    /// as no other name may be told.
    async fn walk(
        &self,
        mut after: Option<String>,
        budget: &Budget,
        ends: impl Fn(&str) -> bool,
        sees: impl Fn(&RepositoryName) -> bool,
        mut visit: impl FnMut(&str),
    ) -> Result<Option<String>, StorageError> {
        let mut visited: Option<String> = None;
        loop {
            let list = NameList::Repositories(Holding::Manifests);
            let query = NamesQuery { list, values: false, after, limit: STEP };
            let page = self.storage.names(&query).await?;
            for name in &page.names {
                let within = budget.take();
                if ends(name) {
                    return Ok(None);
                }
                if !RepositoryName::parse(name).is_ok_and(|name| sees(&name)) {
                    continue;
                }
                if !within && visited.is_some() {
                    return Ok(visited);
                }
                visit(name);
                visited = Some(name.clone());
            }
            after = page.names.into_iter().next_back().filter(|_| page.more);
            if after.is_none() {
                return Ok(None);
            }
        }
    }

    /// The entries with what they hold, as far as the budgets for that allow: first the
    /// repositories, then the groups, of which that with the fewest comes first.
    async fn entries(&self, found: Vec<Found>) -> Result<Vec<EntryView>, StorageError> {
        let budget = Budget::new(SIZES);
        let blobs = Cell::new(BLOBS);
        let repositories = found.iter().map(async |found| match found {
            Found::Group(_) => Ok::<_, StorageError>(Held::default()),
            Found::Repository(name) => {
                let held = self.measure(name, &budget, blobs.get()).await?;
                blobs.set(blobs.get().saturating_sub(held.blobs.len()));
                Ok(held)
            }
        });
        let mut held: Vec<Held> =
            stream::iter(repositories).buffered(AT_ONCE).try_collect().await?;
        let groups = found.iter().zip(&mut held).filter_map(|(found, held)| match found {
            Found::Group(group) => Some((group, held)),
            Found::Repository(_) => None,
        });
        let mut groups: Vec<_> = groups.collect();
        groups.sort_by_key(|(group, _)| group.repositories);
        let most = if self.costs_requests() { BUCKET_GROUPS } else { GROUPS };
        let budget = Budget::within(most, GROUPS_TIME);
        for (group, held) in groups {
            *held = self.measure_group(group, &budget, blobs.get()).await?;
            blobs.set(blobs.get().saturating_sub(held.blobs.len()));
        }
        let shared = shared(&held);
        let entries = found.into_iter().zip(held).zip(shared).map(|((found, held), shared)| {
            let size = held.size();
            let (kind, name, repositories) = match found {
                Found::Group(group) => ("group", group.name, Some(group.repositories)),
                Found::Repository(name) => ("repository", name, None),
            };
            EntryView {
                kind,
                name,
                repositories,
                tags: held.tags,
                size,
                shared: size.map(|_| shared),
                pushed: held.pushed.and_then(shown_time),
                complete: held.complete,
            }
        });
        Ok(entries.collect())
    }

    /// What the repositories of a group hold, each blob once; nothing, if that is not all.
    async fn measure_group(
        &self,
        group: &Group,
        budget: &Budget,
        most: usize,
    ) -> Result<Held, StorageError> {
        if group.members.len() < group.repositories {
            return Ok(Held::default());
        }
        let mut sum = Held { tags: Some(0), all_blobs: true, complete: true, ..Held::default() };
        // One after the other: each may take what the ones before it have left.
        for name in &group.members {
            let left = most.saturating_sub(sum.blobs.len());
            let held = self.measure(name, budget, left).await?;
            if !held.complete {
                return Ok(Held::default());
            }
            sum.add(held);
        }
        Ok(sum)
    }

    /// What a repository holds, with the sizes of at most `most` blobs.
    async fn measure(
        &self,
        name: &str,
        budget: &Budget,
        most: usize,
    ) -> Result<Held, StorageError> {
        let Ok(name) = RepositoryName::parse(name) else { return Ok(Held::default()) };
        if !budget.take() {
            return Ok(Held::default());
        }
        let counted = super::known(self.count_tags(&name, budget).await)?;
        let Some((tags, pushed, all_tags)) = counted else { return Ok(Held::default()) };
        let tags = Some(tags);
        let allowed = budget.reserve(SIZE);
        let held = self.held_blobs(&name, allowed, most).await;
        let Some((blobs, spent, all_blobs)) = super::known(held)? else {
            return Ok(Held { tags, pushed, ..Held::default() });
        };
        budget.give_back(allowed.saturating_sub(spent));
        Ok(Held { tags, pushed, blobs, all_blobs, complete: all_blobs && all_tags })
    }

    /// How many tags a repository has, when one was pushed last, and whether these are all.
    async fn count_tags(
        &self,
        name: &RepositoryName,
        budget: &Budget,
    ) -> Result<(usize, Option<SystemTime>, bool), StorageError> {
        let collection = Collection::Tags(name.clone());
        let mut pages = Pages::new(&collection, None, STEP);
        let (mut count, mut newest) = (0, None);
        for _ in 0..TAGS / STEP {
            if !budget.take() {
                return Ok((count, newest, false));
            }
            let Some(entries) = pages.next(&self.storage).await? else { break };
            for entry in entries.iter().filter(|entry| matches!(entry.key, Key::Tag(..))) {
                count += 1;
                newest = newest.max(Some(entry.modified));
            }
        }
        Ok((count, newest, pages.cursor().is_none()))
    }
}

/// How many bytes of each are in another one too.
fn shared(all: &[Held]) -> Vec<u64> {
    let mut holders: HashMap<u128, u32> = HashMap::new();
    for blob in all.iter().flat_map(|one| one.blobs.keys()) {
        *holders.entry(*blob).or_default() += 1;
    }
    let is_shared = |blob: &u128| holders.get(blob).is_some_and(|count| *count > 1);
    let sum = |one: &Held| {
        let of_others = one.blobs.iter().filter(|(blob, _)| is_shared(blob));
        of_others.fold(0_u64, |sum, (_, size)| sum.saturating_add(*size))
    };
    all.iter().map(sum).collect()
}

#[cfg(test)]
mod tests {
    use super::{Held, shared};

    fn held(blobs: &[(u128, u64)]) -> Held {
        Held { blobs: blobs.iter().copied().collect(), ..Held::default() }
    }

    #[test]
    fn bytes_of_several_repositories() {
        let all = [held(&[(1, 10), (2, 20)]), held(&[(2, 20), (3, u64::MAX)]), held(&[(4, 1)])];
        assert_eq!(shared(&all), [20, 20, 0]);
    }

    #[test]
    fn a_group_has_each_blob_once() {
        let mut sum = Held { tags: Some(0), all_blobs: true, ..Held::default() };
        sum.add(Held { tags: Some(2), ..held(&[(1, 10), (2, 20)]) });
        sum.add(Held { tags: Some(1), ..held(&[(2, 20), (3, 30)]) });
        assert_eq!((sum.tags, sum.size()), (Some(3), Some(60)));
        assert_eq!(held(&[(1, 10)]).size(), None, "not all of it is known");
    }
}
