//! An explorer of interleavings and faults: the real protocol over the real
//! adapters, one storage operation at a time.
//!
//! Requests are tasks, each in a thread of which only one runs at a time. Each
//! access of a task to what others can notice is a [`Step`]: a call of the file
//! system in a directory (`roadstead_directory::steps`), a request to a bucket in
//! memory. Before each, a [`Scheduler`] chooses the task that makes the next step,
//! so a run is determined by its choices, and is repeated by repeating them.
//!
//! - `step` says which steps can change places without a difference.
//! - `schedule` chooses: every order, depth first; or by seed.
//! - `stage` runs tasks, and has a step fail, lose its answer, tear, or be the
//!   last of its process.
//! - `world` is a storage with registries over it, `ask` the requests, and
//!   `oracle` says whether what happened could have happened one request after
//!   the other.
//! - `search` brings them together.
//! - `collector` is the protocol of garbage collection beside clients, step by step, with
//!   an oracle of its own: what it does makes no difference to them. `collection` is the
//!   registry's own collector, and `expiry` what it does with tags that expire. `scrubber` is a scrub beside
//!   clients, and `untagged` a collector that takes manifests away. `quotas` is pushes that share a quota,
//!   and `notified` requests of which others are notified.

mod ask;
mod collection;
mod collector;
mod expiry;
mod notified;
mod oracle;
mod quotas;
mod schedule;
mod scrubber;
mod search;
mod stage;
mod step;
mod untagged;
mod world;

pub use ask::{Ask, Item};
pub use collection::{Collected, Meets, collect_beside};
pub use collector::{Defect, Meeting, Phase, meet};
pub use expiry::{Expiry, Lapse, expire_beside, lapse_beside};
pub use notified::notify;
pub use oracle::Model;
pub use quotas::{Quota, push_beside};
pub use schedule::{DepthFirst, Random, Scheduler};
pub use scrubber::{Scrubber, scrub_beside};
pub use search::{Bound, Found, Scenario, explore, inject};
pub use stage::{Fault, FaultKind, Performance, Span, Task, perform};
pub(crate) use stage::{answered, bucket_step, pause};
pub use step::{Kind, Step};
pub use untagged::{Encounter, Slip, encounter};
pub use world::{Medium, World};
