//! The stage `tags`: tags that have expired by the policies of retention are removed, and what is
//! kept of those that were removed earlier goes in time.
//!
//! It comes after the manifests were read, so that it is known whether another registry writes,
//! which does not look for announcements, and before the manifests to which no tag leads any
//! longer.

mod queries;
mod removal;

use super::links::Announced;
use super::run::{PAGE, Run};
use super::state::Stage;
use roadstead_access::{RetentionPolicy, TagTimes, Times, Verdict};
use roadstead_oci::{RepositoryName, Tag};
use roadstead_storage::{Collection, Entry, Key, Pages, Record, Storage, StorageError};
use std::collections::HashMap;
use std::time::SystemTime;

/// The most tags of a repository of which some expire. A repository with more is passed over,
/// and keeps them.
///
/// Limit: tags of a repository of which some expire; test: none, a test with as many takes too long.
const MOST: usize = 250_000;

/// How many tags the report of a run names that only looks.
///
/// Limit: tags that have expired that a report names; test: `expired_tags_are_named_up_to_a_limit`.
const NAMED: usize = 50;

impl<S: Storage> Run<'_, S> {
    /// Goes through the next repositories.
    pub(super) async fn expire_tags(
        &mut self,
        done: Option<String>,
        within: Option<(String, String)>,
    ) -> Result<(), StorageError> {
        if done.is_none() && within.is_none() {
            self.forget_pulls().await?;
        }
        // The marker is written before the first tag is removed.
        if self.state.marked.is_none() && !self.store.retention.has_tags() {
            self.state.stage = Stage::Untagged { done: None, within: None };
            return Ok(());
        }
        let limit = if within.is_some() { 1 } else { PAGE };
        let names = self.repositories(done.clone(), limit).await?;
        if names.is_empty() {
            self.state.stage = Stage::Untagged { done: None, within: None };
            return Ok(());
        }
        let (mut done, mut within) = (done, within);
        for name in names {
            self.alive().await?;
            // Another repository may have come or gone since.
            let after = within.take().filter(|(of, _)| of == name.as_str()).map(|(_, at)| at);
            if after.is_none() {
                self.settle_tags(&name).await?;
            }
            match self.expire_in(&name, after).await? {
                Some(reached) => within = Some((name.as_str().to_owned(), reached)),
                None => done = Some(name.as_str().to_owned()),
            }
            self.state.stage = Stage::Tags { done: done.clone(), within: within.clone() };
            if within.is_some() || self.is_spent() {
                break;
            }
        }
        Ok(())
    }

    /// Goes through one repository, from a tag on. Says how far it came if it did not reach the
    /// end.
    async fn expire_in(
        &mut self,
        name: &RepositoryName,
        after: Option<String>,
    ) -> Result<Option<String>, StorageError> {
        let store = self.store;
        let policy = store.retention.policy(name.as_str()).filter(|policy| policy.has_tags());
        // While another registry writes, which does not know the protocol, tags stay.
        let Some(policy) = policy.filter(|_| self.order.exclusive || !self.state.foreign) else {
            return Ok(None);
        };
        let before = self.spent;
        let Some(tags) = self.tag_times(name, policy, None).await? else {
            self.pass_over(name);
            return Ok(None);
        };
        let mut doomed = self.doomed_tags(name, policy, &tags).await?;
        doomed.retain(|tag| after.as_ref().is_none_or(|after| tag.as_str() > after.as_str()));
        if self.order.dry_run || store.retention.is_dry_run() {
            for tag in &doomed {
                self.count_expired(name, tag);
            }
            return Ok(None);
        }
        // As much is done with what was found as it took to find it.
        let least = self.spent.saturating_mul(2).saturating_sub(before);
        self.remove_tags(name, policy, &doomed, least).await
    }

    /// The tags of a repository with their times, in lexical order; `None` if there are more
    /// than [`MOST`]. What is announced is renewed meanwhile.
    async fn tag_times(
        &mut self,
        name: &RepositoryName,
        policy: &RetentionPolicy,
        mut announced: Option<&mut Announced>,
    ) -> Result<Option<Vec<TagTimes>>, StorageError> {
        // First: what is pulled meanwhile counts as pulled earlier, and what is pushed not at all.
        let mut pulls: HashMap<Tag, SystemTime> = HashMap::new();
        if policy.asks_for_pulls() {
            let collection = Collection::Pulled(name.clone());
            let mut pages = Pages::new(&collection, None, PAGE);
            while let Some(entries) = self.tags_page(&mut pages, &mut announced).await? {
                for entry in entries {
                    if let Key::Pulled(_, tag) = entry.key {
                        pulls.insert(tag, entry.modified);
                    }
                }
                if pulls.len() > MOST {
                    return Ok(None);
                }
            }
        }
        let mut tags = Vec::new();
        let collection = Collection::Tags(name.clone());
        let mut pages = Pages::new(&collection, None, PAGE);
        while let Some(entries) = self.tags_page(&mut pages, &mut announced).await? {
            for entry in entries {
                if let Key::Tag(_, tag) = entry.key {
                    let pulled = pulls.get(&tag).copied();
                    let tag = tag.as_str().to_owned();
                    tags.push(TagTimes { tag, pushed: entry.modified, pulled });
                }
            }
            if tags.len() > MOST {
                return Ok(None);
            }
        }
        tags.sort_unstable_by(|one, other| one.tag.cmp(&other.tag));
        self.pass_over_restored(name, &mut tags, &mut announced).await?;
        Ok(Some(tags))
    }

    /// Has those tags count as of no known time that an undo has brought back, and that were not
    /// pushed since: they would else be the newest ones, and others expire in their place.
    async fn pass_over_restored(
        &mut self,
        name: &RepositoryName,
        tags: &mut [TagTimes],
        announced: &mut Option<&mut Announced>,
    ) -> Result<(), StorageError> {
        let collection = Collection::MovedTags(name.clone());
        let mut pages = Pages::new(&collection, None, PAGE);
        while let Some(entries) = self.tags_page(&mut pages, announced).await? {
            for entry in entries {
                let Key::MovedTag(_, tag) = &entry.key else { continue };
                let at = tags.binary_search_by(|known| known.tag.as_str().cmp(tag.as_str()));
                let Some(known) = at.ok().and_then(|at| tags.get_mut(at)) else { continue };
                if known.pushed > entry.modified {
                    continue;
                }
                if let Some(announced) = announced {
                    self.renew(announced).await?;
                }
                self.spent += 1;
                let moved = self.store.moved_tag(name, tag).await?;
                if moved.is_some_and(|moved| moved.restored) {
                    known.pushed = SystemTime::UNIX_EPOCH;
                }
            }
        }
        Ok(())
    }

    async fn tags_page(
        &mut self,
        pages: &mut Pages<'_>,
        announced: &mut Option<&mut Announced>,
    ) -> Result<Option<Vec<Entry>>, StorageError> {
        match announced {
            Some(announced) => self.renew(announced).await?,
            None => self.keep_pace().await,
        }
        self.next(pages).await
    }

    /// Those tags that have expired, and can be deleted.
    async fn doomed_tags(
        &mut self,
        name: &RepositoryName,
        policy: &RetentionPolicy,
        tags: &[TagTimes],
    ) -> Result<Vec<Tag>, StorageError> {
        let times = self.retention_times(policy).await?;
        let judged = policy.judge(tags, times);
        let expired = tags.iter().filter(|tag| judged.verdict(tag) == Verdict::Expires);
        let expired = expired.filter(|tag| self.store.keeps_tag(name, &tag.tag).is_none());
        Ok(expired.filter_map(|tag| Tag::parse(&tag.tag).ok()).collect())
    }

    /// By what times it is decided.
    async fn retention_times(&mut self, policy: &RetentionPolicy) -> Result<Times, StorageError> {
        let now = self.begun;
        if !policy.asks_for_pulls() {
            return Ok(Times { now, recorded: None });
        }
        if let Some(known) = self.by_pulls {
            return Ok(known);
        }
        self.spent += 2;
        let times = Times { now, recorded: self.store.pulls_recorded().await? };
        self.by_pulls = Some(times);
        Ok(times)
    }

    /// Deletes what says since when pulls are recorded, if that ended: where it begins again, none
    /// are known.
    async fn forget_pulls(&mut self) -> Result<(), StorageError> {
        if self.order.dry_run || self.store.retention.recorded().is_some() {
            return Ok(());
        }
        self.spent += 1;
        if self.store.pulls_begun().await?.is_some() {
            self.spent += 1;
            self.store.storage.delete(&Key::Record(Record::Pulls)).await?;
        }
        Ok(())
    }

    /// Counts a tag that is removed, or would be.
    fn count_expired(&mut self, name: &RepositoryName, tag: &Tag) {
        let looks = self.store.retention.is_dry_run();
        let report = &mut self.state.report;
        *(if looks { &mut report.expiring } else { &mut report.expired }) += 1;
        if (looks || report.dry_run) && report.expired_tags.len() < NAMED {
            report.expired_tags.push(format!("{name}:{tag}"));
        }
    }
}
