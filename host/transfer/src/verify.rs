//! Signatures of inventories.

use roadstead_archive::{Image, Inventory, PublicKey, Set};
use roadstead_oci::Digest;
use roadstead_operator::files;
use std::collections::BTreeSet;
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

/// Checks that all images are in inventories that are signed with one of these keys; without
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
    // Whatever else is in an archive, nobody has signed it.
    let is_signed = |image: &Image| {
        let repositories = set
            .inventories()
            .iter()
            .filter_map(|found| found.inventory.repositories.get(image.name.repository.as_ref()?));
        repositories.into_iter().any(|repository| match &image.name.tag {
            Some(tag) => repository.tags.get(tag) == Some(&image.digest),
            None => repository.manifests.contains_key(&image.digest),
        })
    };
    match set.images().iter().find(|image| !is_signed(image)) {
        Some(image) => Err(format!("{} is in no signed inventory", image.digest)),
        None => Ok(()),
    }
}

/// Checks that all manifests that are to be imported, referrers included, are in inventories
/// whose signatures were checked; without keys, nothing is asked for.
///
/// # Errors
/// When one is in none of them.
pub(crate) fn manifests(keys: &[PathBuf], set: &Set, inventory: &Inventory) -> Result<(), String> {
    if keys.is_empty() {
        return Ok(());
    }
    let repositories = set.inventories().iter().flat_map(|it| it.inventory.repositories.values());
    let signed: BTreeSet<&Digest> = repositories.flat_map(|it| it.manifests.keys()).collect();
    let mut all = inventory.repositories.values().flat_map(|it| it.manifests.keys());
    match all.find(|digest| !signed.contains(digest)) {
        Some(digest) => Err(format!("{digest} is in no signed inventory")),
        None => Ok(()),
    }
}
