//! Docker's `config.json`, and the programs that keep passwords instead of it.

use crate::credentials::{Credentials, MAX_CONFIG, helper_of, key_of, names};
use crate::files::{self, Existing, SECRET};
use serde_json::{Map, Value, json};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where a password is.
#[derive(Debug)]
pub(super) enum Kept {
    /// In this file.
    File(PathBuf),
    /// With this program.
    Helper(String),
}

/// Keeps a password, in place of another of this registry.
///
/// # Errors
/// When the file cannot be read or written, or the helper refuses it.
pub(super) fn keep(directory: &Path, authority: &str, user: &Credentials) -> Result<Kept, String> {
    let file = directory.join("config.json");
    let (mut config, kept, entry) = {
        let mut config = read(&file)?;
        // Before the helper has it.
        entries(&file, &mut config)?;
        match helper_of(&config, authority)? {
            Some(helper) => {
                helper.store(key_of(authority), user)?;
                // Another program may have written the file meanwhile. The empty entry is how
                // Docker notes that there is a login.
                (read(&file)?, Kept::Helper(helper.program().to_owned()), json!({}))
            }
            None => (config, Kept::File(file.clone()), json!({ "auth": user.encoded() })),
        }
    };
    let auths = entries(&file, &mut config)?;
    auths.retain(|known, _| !names(known, authority));
    auths.insert(key_of(authority).to_owned(), entry);
    write(directory, &file, &config)?;
    Ok(kept)
}

/// Forgets a password, and says whether there was one. It is gone from the file even if the
/// helper fails.
///
/// # Errors
/// When the file cannot be read or written, or the helper fails.
pub(super) fn forget(directory: &Path, authority: &str) -> Result<bool, String> {
    let file = directory.join("config.json");
    let mut config = read(&file)?;
    let auths = entries(&file, &mut config)?;
    let before = auths.len();
    auths.retain(|known, _| !names(known, authority));
    let is_removed = auths.len() < before;
    if is_removed {
        write(directory, &file, &config)?;
    }
    match helper_of(&config, authority)? {
        Some(helper) => Ok(helper.erase(key_of(authority))? || is_removed),
        None => Ok(is_removed),
    }
}

/// The configuration; an empty one, if there is none.
fn read(file: &Path) -> Result<Value, String> {
    let failed = |problem: String| format!("{}: {problem}", file.display());
    match files::read(file, MAX_CONFIG) {
        Ok(text) if text.trim_ascii().is_empty() => Ok(json!({})),
        Ok(text) => serde_json::from_slice(&text).map_err(|error| failed(error.to_string())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(json!({})),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The entries of registries.
fn entries<'a>(file: &Path, config: &'a mut Value) -> Result<&'a mut Map<String, Value>, String> {
    let wrong = || format!("{}: it is not a configuration of Docker", file.display());
    let auths = config.as_object_mut().ok_or_else(wrong)?.entry("auths").or_insert(json!({}));
    if auths.is_null() {
        *auths = json!({});
    }
    auths.as_object_mut().ok_or_else(wrong)
}

/// Writes the configuration, for its owner alone.
fn write(directory: &Path, file: &Path, config: &Value) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    make(directory).map_err(failed)?;
    let text = serde_json::to_string_pretty(config).map_err(|error| error.to_string())?;
    files::write(file, format!("{text}\n").as_bytes(), SECRET, Existing::Replace).map_err(failed)
}

/// Makes a directory for its owner alone, unless it is there.
fn make(directory: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}
