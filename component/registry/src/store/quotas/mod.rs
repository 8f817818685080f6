//! Quotas: how much the repositories of a rule may hold.
//!
//! What they hold was counted ([`Store::count_quota`]), and since then each push has said, before
//! it stored anything, what it adds: the records `added-…`. They are objects of their own, as no
//! store can add to a number. Who pushes
//!
//! 1. reads what was counted, and so knows what is new;
//! 2. writes what it adds;
//! 3. lists what all pushes add, and reads again what was counted;
//! 4. stores the manifest if that is within the limits, or else takes back what it wrote.
//!
//! Each push writes before it lists, so of two at once one sees the other at least: whatever they
//! meet, a limit is kept, and near to it both may be refused.
//!
//! Several counts may go on at the same time; of complete ones, the one that began last counts. A
//! count deletes what pushes said to add only if they had ended before it began, so that each later
//! count finds that too, and after it has stored its result; hence the list comes first in step 3.
//! What was said since may be counted twice, until it is old enough. A push that would be refused
//! looks for that.

mod admission;
mod count;
mod records;
mod used;

pub(crate) use admission::Push;
pub(crate) use count::{Count, blob_hash, tag_hash};
pub(crate) use records::Added;
