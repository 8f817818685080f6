//! What operators ask: which tags expire, and why. Nothing is written, but for a record that
//! shows the storage's clock, and is deleted again.

use super::{Run, Storage};
use crate::collect::queries::LOOK;
use crate::collect::run::seconds;
use crate::collect::state::State;
use crate::store::Store;
use roadstead_access::{RetentionPolicy, TagTimes, Verdict};
use roadstead_bridge::retention::{ExpiringAnswer, ExpiringIn, ExpiringTag, RemovedTag, TagAnswer};
use roadstead_oci::{RepositoryName, Tag};
use roadstead_storage::{Collection, Key, Record, StorageError};
use std::time::SystemTime;
use uuid::Uuid;

/// How many tags an answer has when it leaves the next ones to the next answer: with the longest
/// names, 40 KiB.
///
/// Limit: tags in an answer about retention; test: `what_expires_is_listed_in_pages`.
const TAGS: usize = 200;

/// How many repositories an answer is about: in a bucket, their names take as many requests.
///
/// Limit: repositories in an answer about retention; test: none, more are in further answers.
const REPOSITORIES: usize = 32;

impl<S: Storage> Store<S> {
    async fn judge(&self) -> Result<Run<'_, S>, StorageError> {
        let now = self.storage_time().await?;
        Ok(self.slice_of(&LOOK, 0, now, now, State::default()))
    }

    /// The time by the storage's clock, by which runs decide; by that of this process where
    /// nothing can be written.
    async fn storage_time(&self) -> Result<SystemTime, StorageError> {
        if self.is_read_only() {
            return Ok(SystemTime::now());
        }
        let id = Uuid::new_v4().as_u128();
        let now = match self.clock(id).await {
            Err(StorageError::ReadOnly(_)) => return Ok(SystemTime::now()),
            clock => clock.map(|(now, _)| now),
        };
        let _ = self.storage.delete(&Key::Record(Record::Begun(id))).await;
        now
    }

    /// Which tags expire after a place, `<name>` or `<name>:<tag>`: those of one repository at
    /// least, and then as many as `budget` operations of the storage allow.
    pub(crate) async fn expiring(
        &self,
        after: Option<String>,
        budget: u32,
    ) -> Result<ExpiringAnswer, StorageError> {
        let dry_run = self.retention.is_dry_run();
        let mut answer = ExpiringAnswer { dry_run, ..ExpiringAnswer::default() };
        if !self.retention.has_tags() {
            return Ok(answer);
        }
        let mut run = self.judge().await?;
        let (mut done, mut within) = match after.as_ref().and_then(|after| after.split_once(':')) {
            Some((name, tag)) => (None, Some((name.to_owned(), tag.to_owned()))),
            None => (after, None),
        };
        let mut left = TAGS;
        if let Some((name, tag)) = within.take() {
            done = Some(name.clone());
            if let Ok(name) = RepositoryName::parse(&name) {
                answer.next = run.expiring_in(&name, Some(&tag), &mut left, &mut answer).await?;
                if answer.next.is_some() {
                    return Ok(answer);
                }
            }
        }
        let names = run.repositories(done, REPOSITORIES).await?;
        for name in names {
            answer.next = run.expiring_in(&name, None, &mut left, &mut answer).await?;
            if answer.next.is_some() {
                return Ok(answer);
            }
            answer.next = Some(name.as_str().to_owned());
            if run.spent >= budget || left == 0 {
                return Ok(answer);
            }
        }
        Ok(answer)
    }

    /// What is decided of a tag, and why.
    pub(crate) async fn explain_tag(
        &self,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<TagAnswer, StorageError> {
        let mut answer = TagAnswer { dry_run: self.retention.is_dry_run(), ..TagAnswer::default() };
        let policy = self.retention.policy(name.as_str());
        answer.policy = policy.map(RetentionPolicy::name);
        let key = Key::Tag(name.clone(), tag.clone());
        let found = self.entry(&Collection::Tags(name.clone()), &key).await?;
        let Some(found) = found else {
            self.explain_removed(name, tag, &mut answer).await?;
            return Ok(answer);
        };
        answer.pushed = Some(seconds(found.modified));
        let Some(policy) = policy else {
            "no policy is for this repository".clone_into(&mut answer.reason);
            return Ok(answer);
        };
        let mut run = self.judge().await?;
        let times = run.retention_times(policy).await?;
        answer.recorded = times.recorded.map(seconds);
        let Some(tags) = run.tag_times(name, policy, None).await? else {
            "the repository has too many tags".clone_into(&mut answer.reason);
            return Ok(answer);
        };
        // It may have been deleted since.
        let Some(tag) = tags.iter().find(|other| other.tag == tag.as_str()) else {
            return Ok(answer);
        };
        answer.pulled = tag.pulled.map(seconds);
        let judged = policy.judge(&tags, times);
        answer.rules = judged.findings(tag).iter().map(ToString::to_string).collect();
        let fixed = self.keeps_tag(name, &tag.tag);
        (answer.expires, answer.reason) = match (judged.verdict(tag), fixed) {
            (Verdict::Expires, None) => (true, "no rule keeps it".to_owned()),
            (Verdict::Expires, Some(rule)) => {
                (false, format!("it is immutable by the rule {rule:?}, and cannot be deleted"))
            }
            (Verdict::Kept(why), _) => (false, why.to_string()),
        };
        Ok(answer)
    }

    async fn explain_removed(
        &self,
        name: &RepositoryName,
        tag: &Tag,
        answer: &mut TagAnswer,
    ) -> Result<(), StorageError> {
        "there is no such tag".clone_into(&mut answer.reason);
        let Some(moved) = self.moved_tag(name, tag).await? else { return Ok(()) };
        let key = Key::MovedTag(name.clone(), tag.clone());
        let found = self.entry(&Collection::MovedTags(name.clone()), &key).await?;
        answer.removed = Some(RemovedTag {
            digest: moved.digest.to_string(),
            run: format!("{:032x}", moved.run),
            at: found.map(|found| seconds(found.modified)).unwrap_or_default(),
        });
        "a run has removed it, as it had expired".clone_into(&mut answer.reason);
        Ok(())
    }
}

impl<S: Storage> Run<'_, S> {
    /// Adds the tags of a repository to an answer that expire, of those after a tag, and at most
    /// `left`. Says where the next answer goes on if these were not all.
    async fn expiring_in(
        &mut self,
        name: &RepositoryName,
        after: Option<&str>,
        left: &mut usize,
        answer: &mut ExpiringAnswer,
    ) -> Result<Option<String>, StorageError> {
        let store = self.store;
        let policy = store.retention.policy(name.as_str()).filter(|policy| policy.has_tags());
        let Some(policy) = policy else { return Ok(None) };
        let found = |tags: Vec<ExpiringTag>, passed_over| ExpiringIn {
            name: name.as_str().to_owned(),
            policy: policy.name(),
            tags,
            passed_over,
        };
        let Some(tags) = self.tag_times(name, policy, None).await? else {
            answer.repositories.push(found(Vec::new(), true));
            return Ok(None);
        };
        let mut doomed = self.doomed_tags(name, policy, &tags).await?;
        doomed.retain(|tag| after.is_none_or(|after| tag.as_str() > after));
        let is_all = doomed.len() <= *left;
        doomed.truncate(*left);
        if doomed.is_empty() {
            return Ok(None);
        }
        *left -= doomed.len();
        let next = doomed.last().filter(|_| !is_all).map(|tag| format!("{name}:{tag}"));
        let of = |tag: &TagTimes| ExpiringTag {
            tag: tag.tag.clone(),
            pushed: seconds(tag.pushed),
            pulled: tag.pulled.map(seconds),
        };
        // Both are in lexical order.
        let listed = tags
            .iter()
            .filter(|tag| doomed.binary_search_by(|doomed| doomed.as_str().cmp(&tag.tag)).is_ok());
        answer.repositories.push(found(listed.map(of).collect(), false));
        Ok(next)
    }
}
