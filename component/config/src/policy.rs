//! Reads `policy`: rules for what is stored.

use crate::reader::Reader;
use crate::settings::{
    POLICY_IMMUTABLE, POLICY_QUOTAS, POLICY_RETENTION_DRYRUN, POLICY_RETENTION_POLICIES,
    STORAGE_DELETE_ENABLED,
};
use roadstead_access::{Immutable, Quotas, Retention};

/// The tags that never change.
pub(crate) fn immutable(reader: &mut Reader<'_>) -> Immutable {
    let statements = reader.statements(&POLICY_IMMUTABLE);
    Immutable::parse(&statements.join("\n")).unwrap_or_else(|problem| {
        let name = reader.name(&POLICY_IMMUTABLE.row);
        reader.problem(format!("{name}: {problem}"));
        Immutable::default()
    })
}

/// How much repositories may hold.
pub(crate) fn quotas(reader: &mut Reader<'_>) -> Quotas {
    let statements = reader.statements(&POLICY_QUOTAS);
    Quotas::parse(&statements.join("\n")).unwrap_or_else(|problem| {
        let name = reader.name(&POLICY_QUOTAS.row);
        reader.problem(format!("{name}: {problem}"));
        Quotas::default()
    })
}

/// What has no effect of policies of retention.
pub(crate) fn warning(
    reader: &Reader<'_>,
    retention: &Retention,
    collects: bool,
) -> Option<String> {
    let is_used = retention.has_tags() || retention.deletes_untagged();
    (is_used && !collects).then(|| {
        let policies = reader.name(&POLICY_RETENTION_POLICIES.row);
        let deletes = reader.with(&STORAGE_DELETE_ENABLED.row, "true");
        format!("{policies} has no effect without garbage collection, which needs {deletes}")
    })
}

/// The tags that expire.
pub(crate) fn retention(reader: &mut Reader<'_>) -> Retention {
    let dry_run = reader.read(&POLICY_RETENTION_DRYRUN);
    let policies = reader.statements(&POLICY_RETENTION_POLICIES);
    Retention::parse(&policies.join("\n"), dry_run).unwrap_or_else(|problem| {
        let name = reader.name(&POLICY_RETENTION_POLICIES.row);
        let between = if problem.starts_with('[') { "" } else { ": " };
        reader.problem(format!("{name}{between}{problem}"));
        Retention::default()
    })
}
