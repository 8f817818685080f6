//! A user's name and password: as given to a command, and as `docker login` keeps
//! them.

use crate::doctor::target::Target;
use crate::password;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The largest `config.json`.
///
/// Limit: bytes of Docker's `config.json`; test: none, it comes from the operator.
pub(crate) const MAX_CONFIG: u64 = 1024 * 1024;

/// The user that a credential helper names when it has no password but a token.
const TOKEN: &str = "<token>";

/// Docker Hub's registry.
const HUB: &str = "registry-1.docker.io";

/// What `docker login` calls it.
const HUB_KEY: &str = "index.docker.io";

/// The key under which it keeps the password.
const HUB_URL: &str = "https://index.docker.io/v1/";

/// A user's name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Credentials {
    /// A user's name and password.
    pub fn new(user: String, password: String) -> Self {
        Self { user, password }
    }

    /// Those of a user who is named on the command line, with a password from `input` or
    /// from a prompt.
    pub(crate) fn of_user(
        user: Option<&str>,
        password_stdin: bool,
        input: &mut dyn Read,
    ) -> Result<Option<Self>, String> {
        let Some(user) = user.map(str::to_owned) else { return Ok(None) };
        if user.contains(':') {
            return Err("a user's name cannot contain a colon".to_owned());
        }
        let password = if password_stdin {
            password::from_input(input)?
        } else {
            password::ask(&format!("Password of {user}: "))
                .map_err(|problem| format!("{problem}: use --password-stdin"))?
        };
        Ok(Some(Self { user, password }))
    }

    /// The token with which token services give others, if it is that instead of a password.
    pub(crate) fn refresh_token(&self) -> Option<&str> {
        (self.user == TOKEN).then_some(&self.password)
    }

    /// As the value of an `Authorization` header.
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", self.encoded())
    }

    /// As Docker's `config.json` has it.
    pub(crate) fn encoded(&self) -> String {
        STANDARD.encode(format!("{}:{}", self.user, self.password))
    }
}

/// Where Docker keeps its configuration.
pub(crate) fn directory() -> Option<PathBuf> {
    let given = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    given.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")))
}

/// The host and port of a registry on the command line, as passwords are kept for it.
///
/// # Errors
/// When it is no host and no URL.
pub(crate) fn authority(registry: &str) -> Result<String, String> {
    registry.parse::<Target>().map(|target| target.authority())
}

/// What Docker calls a registry: a URL, if it is its own.
pub(crate) fn key_of(authority: &str) -> &str {
    if [HUB, HUB_KEY].contains(&authority) { HUB_URL } else { authority }
}

/// The credential helper that keeps the password of a registry, if one does.
pub(crate) fn helper_of(config: &Value, authority: &str) -> Option<String> {
    let named = config["credHelpers"][key_of(authority)].as_str();
    let named = named.or(config["credHelpers"][authority].as_str());
    let helper = named.or(config["credsStore"].as_str());
    helper.filter(|helper| !helper.is_empty()).map(str::to_owned)
}

/// The password for a registry, if one is kept.
pub(crate) fn find(directory: &Path, authority: &str) -> Result<Option<Credentials>, String> {
    // Docker keeps that of its own registry under another name.
    let authority = if authority == HUB { HUB_KEY } else { authority };
    let file = directory.join("config.json");
    let failed = |problem: String| format!("{}: {problem}", file.display());
    let text = match crate::files::read(&file, MAX_CONFIG) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    };
    let config: Value = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
    if let Some(helper) = helper_of(&config, authority)
        && let Some(found) = ask(&helper, key_of(authority))?
    {
        return Ok(Some(found));
    }
    let Some(entries) = config["auths"].as_object() else { return Ok(None) };
    let entry = entries.iter().find(|(key, _)| names(key, authority)).map(|(_, entry)| entry);
    if let Some(token) = entry.and_then(|entry| entry["identitytoken"].as_str()) {
        return Ok(Some(Credentials { user: TOKEN.to_owned(), password: token.to_owned() }));
    }
    let Some(auth) = entry.and_then(|entry| entry["auth"].as_str()) else { return Ok(None) };
    let decoded = STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
    let (user, password) =
        pair.ok_or_else(|| failed(format!("the entry of {authority} has no user and password")))?;
    Ok(Some(Credentials { user: user.to_owned(), password: password.to_owned() }))
}

/// Whether a key of `auths` is this registry: Docker writes some as URLs.
pub(crate) fn names(key: &str, authority: &str) -> bool {
    let authority = if authority == HUB { HUB_KEY } else { authority };
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    key.split('/').next() == Some(authority)
}

/// Asks a credential helper.
fn ask(helper: &str, authority: &str) -> Result<Option<Credentials>, String> {
    let program = format!("docker-credential-{helper}");
    let failed = |error: std::io::Error| format!("{program}: {error}; use --user");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // One that ends without reading says so by its status.
        let _ = input.write_all(authority.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    // It fails when it has none.
    let found: Option<Value> =
        output.status.success().then(|| serde_json::from_slice(&output.stdout).ok()).flatten();
    let text = |name: &str| Some(found.as_ref()?[name].as_str()?.to_owned());
    let (Some(user), Some(password)) = (text("Username"), text("Secret")) else { return Ok(None) };
    Ok(Some(Credentials { user, password }))
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn passwords_of_docker_login_are_found() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(find(root.path(), "a.example"), Ok(None));
        // alice:se:cret
        let config = r#"{"auths":{"https://a.example:5000/v2/":{"auth":"YWxpY2U6c2U6Y3JldA=="},
            "b.example":{"auth":"!"},"c.example":{}}}"#;
        std::fs::write(root.path().join("config.json"), config).unwrap();
        let found = find(root.path(), "a.example:5000").unwrap().unwrap();
        assert_eq!((found.user.as_str(), found.password.as_str()), ("alice", "se:cret"));
        assert!(!format!("{found:?}").contains("cret"));
        assert_eq!(find(root.path(), "a.example"), Ok(None));
        assert_eq!(find(root.path(), "c.example"), Ok(None));
        assert!(find(root.path(), "b.example").is_err());
        // Docker Hub's registry has another name there.
        let config = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YWxpY2U6c2U6Y3JldA=="},
            "d.example":{"identitytoken":"token"}}}"#;
        std::fs::write(root.path().join("config.json"), config).unwrap();
        let found = find(root.path(), "registry-1.docker.io").unwrap().unwrap();
        assert_eq!((found.user.as_str(), found.refresh_token()), ("alice", None));
        let found = find(root.path(), "d.example").unwrap().unwrap();
        assert_eq!(found.refresh_token(), Some("token"));
        std::fs::write(root.path().join("config.json"), "{").unwrap();
        assert!(find(root.path(), "a.example").is_err());
    }
}
