//! A user's name and password: as given to a command, and as `docker login` keeps
//! them.

mod helper;

use crate::doctor::target::Target;
use crate::password;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use helper::Helper;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest `config.json`.
///
/// Limit: bytes of Docker's `config.json`; test: none, it comes from the operator.
pub(crate) const MAX_CONFIG: u64 = 1024 * 1024;

/// The user that a credential helper names when it has no password but a token.
const TOKEN: &str = "<token>";

/// The names of Docker Hub's registry. `docker login` knows it by the first.
const HUB: [&str; 3] = ["index.docker.io", "registry-1.docker.io", "docker.io"];

/// What a key may have after the host. Others, as in `quay.io/team`, are for a part of a registry.
const PATHS: [&str; 6] = ["", "/", "/v1", "/v1/", "/v2", "/v2/"];

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
    if is_hub(authority) { HUB_URL } else { authority }
}

/// Whether this is Docker Hub's registry.
pub(crate) fn is_hub(authority: &str) -> bool {
    HUB.contains(&authority)
}

/// Whether a key of `auths` or `credHelpers` is this registry: Docker writes some as URLs.
pub(crate) fn names(key: &str, authority: &str) -> bool {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    let (host, path) = key.split_at(key.find('/').unwrap_or(key.len()));
    key_of(host) == key_of(authority) && PATHS.contains(&path)
}

/// The entry of a registry: under the key that Docker writes, or else under another.
fn entry_of<'a>(entries: &'a Value, authority: &str) -> Option<&'a Value> {
    let entries = entries.as_object()?;
    let other = || entries.iter().find(|(key, _)| names(key, authority)).map(|(_, entry)| entry);
    entries.get(key_of(authority)).or_else(other)
}

/// The credential helper that keeps the password of a registry, if one does.
///
/// # Errors
/// When its name is none of a program.
pub(crate) fn helper_of(config: &Value, authority: &str) -> Result<Option<Helper>, String> {
    let named = entry_of(&config["credHelpers"], authority).and_then(Value::as_str);
    let helper = named.or(config["credsStore"].as_str());
    helper.filter(|helper| !helper.is_empty()).map(Helper::new).transpose()
}

/// The password for a registry, if one is kept.
pub(crate) fn find(directory: &Path, authority: &str) -> Result<Option<Credentials>, String> {
    let file = directory.join("config.json");
    let failed = |problem: String| format!("{}: {problem}", file.display());
    let text = match crate::files::read(&file, MAX_CONFIG) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    };
    let config: Value = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
    if let Some(helper) = helper_of(&config, authority).map_err(failed)? {
        let found = helper.get(key_of(authority));
        if let Some(found) = found.map_err(|problem| format!("{problem}; use --user"))? {
            return Ok(Some(found));
        }
    }
    let entry = entry_of(&config["auths"], authority);
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

#[cfg(test)]
mod tests {
    use super::{find, helper_of, names};
    use serde_json::json;

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

    #[test]
    fn keys_of_a_part_of_a_registry_are_not_its_own() {
        for (key, authority, expected) in [
            ("a.example", "a.example", true),
            ("https://a.example/v2/", "a.example", true),
            ("http://a.example:80/", "a.example:80", true),
            ("a.example/v1", "a.example", true),
            ("a.example/team", "a.example", false),
            ("https://a.example/v2/team", "a.example", false),
            ("a.example:5000", "a.example", false),
            ("https://index.docker.io/v1/", "docker.io", true),
            ("https://index.docker.io/v1/access-token", "docker.io", false),
            ("docker.io", "registry-1.docker.io", true),
            ("registry-1.docker.io", "index.docker.io", true),
        ] {
            assert_eq!(names(key, authority), expected, "{key} {authority}");
        }
        let config = json!({ "credHelpers": { "docker.io": "one", "a.example/team": "two" },
            "credsStore": "three", "auths": { "a.example/team": { "auth": "YWxpY2U6cA==" } } });
        for (authority, expected) in
            [("registry-1.docker.io", "one"), ("index.docker.io", "one"), ("a.example", "three")]
        {
            let helper = helper_of(&config, authority).unwrap().unwrap();
            assert_eq!(helper.program(), format!("docker-credential-{expected}"));
        }
        assert!(helper_of(&json!({ "credsStore": "../x" }), "a.example").is_err());
        let root = tempfile::tempdir().unwrap();
        let auths = json!({ "auths": config["auths"] }).to_string();
        std::fs::write(root.path().join("config.json"), auths).unwrap();
        assert_eq!(find(root.path(), "a.example"), Ok(None));
    }
}
