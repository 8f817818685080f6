//! Which tags are kept, and which expire: `policy.retention`.
//!
//! Policies are tried in their order, and the first one whose `repositories` fit decides. A tag
//! expires only if some of its `keeptags` have patterns that fit the tag, and no rule of those
//! keeps it. So a repository without a policy, and a tag that fits no pattern, lose nothing.
//!
//! `settings` reads them, by `values`, and `judge` decides, by times alone.

mod judge;
mod settings;
mod values;

pub use judge::{Finding, Judged, Outcome, Rule, TagTimes, Times, Verdict, Why};
pub use settings::{Retention, RetentionPolicy};
