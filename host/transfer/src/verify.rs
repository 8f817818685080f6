//! Signatures of inventories.

use roadstead_archive::{PublicKey, Set};
use roadstead_operator::files;
use std::path::{Path, PathBuf};

/// The largest file of a key, in bytes.
///
/// Limit: bytes of a key's file; test: none, it comes from the operator.
const KEY: u64 = 64 * 1024;

/// Reads the text of a key's file.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    let failed = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let bytes = files::read(path, KEY).map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|error| failed(&error))
}

/// Checks that all archives have inventories that are signed with one of these keys; without
/// keys, nothing is asked for.
///
/// # Errors
/// When one is not signed, or by somebody else.
pub(crate) fn inventories(keys: &[PathBuf], set: &Set) -> Result<(), String> {
    if keys.is_empty() {
        return Ok(());
    }
    let parse = |path: &PathBuf| {
        PublicKey::parse(&read(path)?).map_err(|problem| format!("{}: {problem}", path.display()))
    };
    let keys: Vec<PublicKey> = keys.iter().map(parse).collect::<Result<_, _>>()?;
    for found in set.inventories() {
        let archive = &found.archive;
        let signature = found.signature.as_deref();
        let signature =
            signature.ok_or_else(|| format!("{archive}: its inventory is not signed"))?;
        if !keys.iter().any(|key| key.verify(&found.bytes, signature).is_ok()) {
            return Err(format!("{archive}: its inventory is not signed with a key of --verify"));
        }
    }
    // What is in another archive, nobody has signed.
    match set.without_inventory() {
        Some(archive) => Err(format!("{archive} has no signed inventory")),
        None => Ok(()),
    }
}
