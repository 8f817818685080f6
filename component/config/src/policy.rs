//! Reads `policy`: rules for what is stored.

use crate::reader::Reader;
use crate::settings::POLICY_IMMUTABLE;
use roadstead_access::Immutable;

/// The tags that never change.
pub(crate) fn immutable(reader: &mut Reader<'_>) -> Immutable {
    let statements = reader.statements(&POLICY_IMMUTABLE);
    Immutable::parse(&statements.join("\n")).unwrap_or_else(|problem| {
        let name = reader.name(&POLICY_IMMUTABLE.row);
        reader.problem(format!("{name}: {problem}"));
        Immutable::default()
    })
}
