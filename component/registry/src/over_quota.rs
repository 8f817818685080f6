//! The refusal of a push by a quota.

use serde_json::{Value, json};
use std::fmt;

/// The setting of quotas.
const QUOTAS: &str = "REGISTRY_POLICY_QUOTAS";

/// A quota that a push would exceed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OverQuota {
    /// The name of the rule.
    pub rule: String,
    /// What it limits.
    pub resource: Resource,
    /// How much of it the rule's repositories hold.
    pub used: u64,
    /// How much they may hold.
    pub limit: u64,
    /// How much more the push needs, if that is known.
    pub needed: Option<u64>,
}

/// What a quota limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    /// Bytes of content.
    Bytes,
    /// Tags.
    Tags,
}

impl OverQuota {
    /// The same for programs.
    pub(crate) fn detail(&self) -> Value {
        let Self { rule, resource, used, limit, needed } = self;
        let resource = resource.as_str();
        json!({
            "rule": rule,
            "setting": QUOTAS,
            "resource": resource,
            "used": used,
            "limit": limit,
            "needed": needed,
        })
    }
}

impl Resource {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Tags => "tags",
        }
    }
}

impl fmt::Display for OverQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, resource, used, limit, needed } = self;
        let resource = resource.as_str();
        write!(
            f,
            "the quota {rule:?} of {QUOTAS} is exceeded: {used} of {limit} {resource} are used"
        )?;
        if let Some(needed) = needed {
            write!(f, ", and this push needs {needed} more")?;
        }
        f.write_str("; delete what is not needed, or ask the operator for more")
    }
}
