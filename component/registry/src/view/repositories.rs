//! A level of the tree of repositories, or those that match a text.

use super::tree::{Found, Level};
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
use std::time::SystemTime;

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

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum EntryView {
    Group { name: String, repositories: usize },
    Repository(RepositoryView),
}

#[derive(Debug, Default, Serialize)]
struct RepositoryView {
    name: String,
    tags: Option<usize>,
    size: Option<u64>,
    shared: Option<u64>,
    pushed: Option<String>,
    /// Whether everything of the repository was looked at.
    complete: bool,
}

/// What a repository holds.
struct Measured {
    view: RepositoryView,
    /// Its blobs, by parts of their digests, with their sizes.
    blobs: HashMap<u128, u64>,
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

    /// The entries with what the repositories hold, as far as the budget for that allows.
    async fn entries(&self, found: Vec<Found>) -> Result<Vec<EntryView>, StorageError> {
        let budget = Budget::new(SIZES);
        let blobs = Cell::new(BLOBS);
        let measured = found.into_iter().map(async |found| match found {
            Found::Group(name, repositories) => {
                Ok::<_, StorageError>((Some((name, repositories)), None))
            }
            Found::Repository(name) => {
                let measured = self.measure(name, &budget, blobs.get()).await?;
                blobs.set(blobs.get().saturating_sub(measured.blobs.len()));
                Ok((None, Some(measured)))
            }
        });
        let measured = stream::iter(measured).buffered(AT_ONCE);
        let measured: Vec<(_, Option<Measured>)> = measured.try_collect().await?;
        let shared = shared(measured.iter().filter_map(|(_, one)| one.as_ref()));
        let mut shared = shared.into_iter();
        let entries = measured.into_iter().filter_map(|(group, one)| match (group, one) {
            (Some((name, repositories)), _) => Some(EntryView::Group { name, repositories }),
            (None, Some(mut one)) => {
                one.view.shared = shared.next().filter(|_| one.view.size.is_some());
                Some(EntryView::Repository(one.view))
            }
            (None, None) => None,
        });
        Ok(entries.collect())
    }

    /// What a repository holds, with the sizes of at most `most` blobs.
    async fn measure(
        &self,
        name: String,
        budget: &Budget,
        most: usize,
    ) -> Result<Measured, StorageError> {
        let mut view = RepositoryView { name, ..RepositoryView::default() };
        let nothing = |view| Measured { view, blobs: HashMap::new() };
        let Ok(name) = RepositoryName::parse(&view.name) else { return Ok(nothing(view)) };
        if !budget.take() {
            return Ok(nothing(view));
        }
        let (tags, newest, all_tags) = self.count_tags(&name, budget).await?;
        view.tags = Some(tags);
        view.pushed = newest.and_then(shown_time);
        let allowed = budget.reserve(SIZE);
        let held = self.held_blobs(&name, allowed, most).await;
        let Some((blobs, spent, all)) = super::known(held)? else { return Ok(nothing(view)) };
        budget.give_back(allowed.saturating_sub(spent));
        view.complete = all && all_tags;
        if all {
            view.size = Some(blobs.values().fold(0, |sum, size| sum.saturating_add(*size)));
        }
        Ok(Measured { view, blobs })
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
fn shared<'a>(all: impl Iterator<Item = &'a Measured> + Clone) -> Vec<u64> {
    let mut holders: HashMap<u128, u32> = HashMap::new();
    for blob in all.clone().flat_map(|one| one.blobs.keys()) {
        *holders.entry(*blob).or_default() += 1;
    }
    let is_shared = |blob: &u128| holders.get(blob).is_some_and(|count| *count > 1);
    let sum = |one: &Measured| {
        let of_others = one.blobs.iter().filter(|(blob, _)| is_shared(blob));
        of_others.fold(0_u64, |sum, (_, size)| sum.saturating_add(*size))
    };
    all.map(sum).collect()
}

#[cfg(test)]
mod tests {
    use super::{Measured, RepositoryView, shared};

    #[test]
    fn bytes_of_several_repositories() {
        let of = |blobs: &[(u128, u64)]| Measured {
            view: RepositoryView::default(),
            blobs: blobs.iter().copied().collect(),
        };
        let all = [of(&[(1, 10), (2, 20)]), of(&[(2, 20), (3, u64::MAX)]), of(&[(4, 1)])];
        assert_eq!(shared(all.iter()), [20, 20, 0]);
    }
}
