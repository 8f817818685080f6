//! Reads `policy`: rules for what is stored.

use crate::reader::Reader;
use crate::settings::{POLICY_IMMUTABLE, POLICY_QUOTAS};
use roadstead_access::{Immutable, Quotas};

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
