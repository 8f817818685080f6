//! A profile in the file that Amazon's tools share.
//!
//! <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>

use super::{Credential, PROFILES_LIMIT, Variables, read_file};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a change of the file may go unnoticed.
///
/// Limit: time for which a changed profile may go unnoticed; test: none, it would take
/// as long.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

const PROFILE: &str = "AWS_PROFILE";
const FILE: &str = "AWS_SHARED_CREDENTIALS_FILE";

/// The file below a home, and the profile that is used where none is named.
const DEFAULT_FILE: &str = ".aws/credentials";
const DEFAULT_PROFILE: &str = "default";

/// Keys of a profile that name another source.
const INDIRECT: [&str; 4] = ["role_arn", "source_profile", "credential_process", "sso_session"];

/// A profile in a file, which is read again now and then: its keys may change.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    file: String,
    name: String,
    read: Arc<Mutex<Option<(Instant, Credential)>>>,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the profile {} in {}", self.name, self.file)
    }
}

/// What a search finds.
pub(super) enum Search {
    Found(Profile),
    /// Nothing, after looking for this.
    Nothing(String),
}

/// Looks for the profile that the environment names, or for the usual one.
pub(super) fn find(variables: Variables<'_>) -> Result<Search, String> {
    let named = variables(PROFILE);
    let home = variables("HOME").or_else(|| variables("USERPROFILE"));
    let usual = home.map(|home| format!("{}/{DEFAULT_FILE}", home.trim_end_matches('/')));
    let given = variables(FILE);
    let must_exist = named.is_some() || given.is_some();
    let name = named.unwrap_or_else(|| DEFAULT_PROFILE.to_owned());
    let looked_for = |file: &str| format!("the profile {name} ({PROFILE}) in {file} ({FILE})");
    let Some(file) = given.or(usual) else {
        if must_exist {
            return Err(format!("{PROFILE} needs {FILE} or HOME"));
        }
        return Ok(Search::Nothing(looked_for("~/.aws/credentials")));
    };
    let text = match read_file(&file, PROFILES_LIMIT) {
        Ok(text) => text,
        Err(problem) if must_exist => return Err(format!("{PROFILE}, {FILE}: {problem}")),
        Err(_) => return Ok(Search::Nothing(looked_for(&file))),
    };
    match parse(&text, &name) {
        Ok(None) if must_exist => Err(format!("{file} has no profile {name} ({PROFILE})")),
        Ok(None) => Ok(Search::Nothing(looked_for(&file))),
        Ok(Some(credential)) => {
            let read = Arc::new(Mutex::new(Some((Instant::now(), credential))));
            Ok(Search::Found(Profile { file, name, read }))
        }
        Err(problem) => Err(format!("the profile {name} in {file}: {problem}")),
    }
}

impl Profile {
    /// Its keys, as they are now.
    pub(super) fn read(&self) -> Result<Credential, String> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, credential)) = &*read
            && when.elapsed() < CHECK_INTERVAL
        {
            return Ok(credential.clone());
        }
        let found = parse(&read_file(&self.file, PROFILES_LIMIT)?, &self.name)?;
        let credential = found.ok_or("the profile is gone")?;
        *read = Some((Instant::now(), credential.clone()));
        Ok(credential)
    }
}

/// The keys of a profile; `None` if there is no such profile. Values are not
/// repeated in problems.
pub(super) fn parse(text: &str, name: &str) -> Result<Option<Credential>, String> {
    let (mut inside, mut found) = (false, false);
    let (mut id, mut secret, mut token, mut indirect) = (None, None, None, None);
    for line in text.lines() {
        // What is indented belongs to the line before.
        let plain = !line.starts_with([' ', '\t', '#', ';']);
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            let section = section.split(']').next().unwrap_or_default().trim();
            inside = section == name;
            found |= inside;
        } else if let Some((key, value)) = line.split_once('=')
            && inside
            && plain
        {
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim().to_owned());
            match key.as_str() {
                "aws_access_key_id" => id = Some(value),
                "aws_secret_access_key" => secret = Some(value),
                "aws_session_token" => token = Some(value),
                _ => indirect = indirect.or(INDIRECT.into_iter().find(|name| *name == key)),
            }
        }
    }
    match (id, secret, indirect) {
        _ if !found => Ok(None),
        (Some(id), Some(secret), _) => Ok(Some(Credential::Key { id, secret, token })),
        (_, _, Some(key)) => Err(format!(
            "{key} is not supported here; it needs aws_access_key_id and aws_secret_access_key"
        )),
        _ => Err("it needs aws_access_key_id and aws_secret_access_key".to_owned()),
    }
}
