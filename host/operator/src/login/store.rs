//! Docker's `config.json`, and the programs that keep passwords instead of it.

use crate::credentials::{Credentials, MAX_CONFIG, helper_of, key_of, names};
use crate::files::{self, Existing, SECRET};
use crate::terminal::harmless;
use serde_json::{Map, Value, json};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What helpers say of a password that they do not have.
const NOT_FOUND: &str = "credentials not found";

/// The most characters that are shown of what a helper says.
///
/// Limit: characters of a credential helper's error that are shown; test: none, helpers say less.
const SAID: usize = 300;

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
    let mut config = read(&file)?;
    let key = key_of(authority);
    let (kept, entry) = match helper_of(&config, authority) {
        Some(helper) => {
            let secret =
                json!({ "ServerURL": key, "Username": user.user, "Secret": user.password });
            let program = call(&helper, "store", &secret.to_string())?;
            // As Docker notes that there is a login.
            (Kept::Helper(program), json!({}))
        }
        None => (Kept::File(file.clone()), json!({ "auth": user.encoded() })),
    };
    let auths = entries(&file, &mut config)?;
    auths.retain(|known, _| !names(known, authority));
    auths.insert(key.to_owned(), entry);
    write(directory, &file, &config)?;
    Ok(kept)
}

/// Forgets a password, and says whether there was one.
///
/// # Errors
/// When the file cannot be read or written, or the helper fails.
pub(super) fn forget(directory: &Path, authority: &str) -> Result<bool, String> {
    let file = directory.join("config.json");
    let mut config = read(&file)?;
    let helper = helper_of(&config, authority);
    let auths = entries(&file, &mut config)?;
    let before = auths.len();
    auths.retain(|known, _| !names(known, authority));
    let is_removed = auths.len() < before;
    let mut was_kept = is_removed;
    if let Some(helper) = helper {
        match call(&helper, "erase", key_of(authority)) {
            Ok(_) => was_kept = true,
            Err(problem) if problem.contains(NOT_FOUND) => {}
            Err(problem) => return Err(problem),
        }
    }
    if is_removed {
        write(directory, &file, &config)?;
    }
    Ok(was_kept)
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

/// Calls a credential helper, and returns its name.
fn call(helper: &str, action: &str, input: &str) -> Result<String, String> {
    let program = format!("docker-credential-{helper}");
    let failed = |error: std::io::Error| format!("{program}: {error}");
    let mut child = Command::new(&program)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    if let Some(mut pipe) = child.stdin.take() {
        // One that ends without reading says so by its status.
        let _ = pipe.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(program);
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let said: String = said.trim().chars().take(SAID).collect();
    Err(format!("{program} {action}: {}", harmless(&said)))
}
