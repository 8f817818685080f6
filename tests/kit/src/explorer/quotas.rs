//! Pushes that share a quota, in every order of their steps: never is more admitted than there is
//! room for, and what is refused has set no tag.

use super::ask::{Ask, Item, Upload};
use super::schedule::Scheduler;
use super::search::{Bound, Found, explore_runs, send, steps_of};
use super::stage::{Task, perform};
use super::world::{Medium, Work, World};
use roadstead_storage::{Collection, Key, QuotaName, QuotaRecord, Storage, StorageError};
use serde_json::Value;
use std::sync::{Mutex, PoisonError};

/// The name of the rule.
const RULE: &str = "few";

/// Pushes that meet.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// The tags that the pushes set. One was set before, and counts.
    pub pushes: &'static [&'static str],
    /// How many tags there may be, with that one.
    pub limit: usize,
    /// Whether nothing was counted, so that pushes count first.
    pub counts: bool,
}

/// Has pushes meet in every order up to a bound, and by seed beyond it.
pub fn push_beside(medium: Medium, quota: &Quota, bound: Bound) -> Found {
    explore_runs(bound, |scheduler| run(medium, quota, scheduler))
}

fn run(medium: Medium, quota: &Quota, scheduler: Box<dyn Scheduler>) -> Result<bool, String> {
    let world = World::new(medium, quota.pushes.len());
    let rule = format!("{RULE} ** {} tags", quota.limit);
    let world = world.with_setting("REGISTRY_POLICY_QUOTAS", &rule);
    let push = |process: usize, tag: &'static str| {
        let ask = Ask::Put(Item::Plain, Some(tag));
        send(&world, process, ask, &Upload::default()).status().as_u16()
    };
    if push(0, "before") != 201 {
        return Err("the first push is refused".to_owned());
    }
    if quota.counts {
        world.work(0, Forget).map_err(|error| error.to_string())?;
    }
    let answers = Mutex::new(Vec::new());
    let tasks = quota.pushes.iter().enumerate().map(|(process, tag)| {
        let (answers, push) = (&answers, &push);
        Box::new(move || {
            let status = push(process, tag);
            answers.lock().unwrap_or_else(PoisonError::into_inner).push((*tag, status));
        }) as Task<'_>
    });
    let performance = perform(tasks.collect(), scheduler, &[], world.root());
    let answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    let found = send(&world, 0, Ask::Tags, &Upload::default());
    let found: Value = serde_json::from_slice(found.body()).unwrap_or_default();
    let tags: Vec<&str> =
        found["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let wrong = answers.iter().find(|(tag, status)| match status {
        201 => !tags.contains(tag),
        403 => tags.contains(tag),
        _ => true,
    });
    if wrong.is_none() && tags.len() <= quota.limit {
        return Ok(false);
    }
    Err(format!(
        "there are {tags:?}, and the answers {answers:?}\nover {medium:?}, {quota:?}\n{}",
        steps_of(&performance)
    ))
}

/// Has the storage forget what was counted.
struct Forget;

impl Work for Forget {
    type Output = ();

    async fn run<S: Storage>(self, storage: &S) -> Result<(), StorageError> {
        let quota = QuotaName::parse(RULE);
        let quota = quota.ok_or_else(|| StorageError::Failed("no name of a rule".to_owned()))?;
        let listing = storage.enumerate(&Collection::Quota(quota), None, 100).await?;
        for entry in listing.entries {
            if matches!(entry.key, Key::Quota(_, QuotaRecord::Count { .. })) {
                storage.delete(&entry.key).await?;
            }
        }
        Ok(())
    }
}
