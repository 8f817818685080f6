//! What this registry says in one answer, by the endpoints of docs/api.md. Others do not have them:
//! then a command asks by the plain protocol, or does without.

use crate::registry::{Answer, Registry, json};
use crate::slices;
use bytes::Bytes;
use http::{Method, StatusCode};
use roadstead_oci::RepositoryName;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The version of the answers that is understood.
const VERSION: u32 = 1;

/// The longest answer, in bytes.
///
/// Limit: bytes of an answer about repositories, tags or an image that a command reads; test: none,
/// the registry makes shorter ones.
const ANSWER: usize = 64 * 1024 * 1024;

/// How many entries are asked for at a time.
///
/// Limit: repositories or tags that a command asks about at a time; test: `repositories_with_what_they_hold`.
const PAGE: usize = 100;

/// How many pages are read.
///
/// Limit: pages of repositories or tags with what they hold that a command reads; test: none, this
/// registry ends before.
const PAGES: usize = 10_000;

/// How often a registry is asked again that answers too many others at the moment.
///
/// Limit: questions in a row that a registry may refuse as one too many; test: none, it would take as long.
const RETRIES: u32 = 10;

/// The pause before that.
///
/// Limit: pause before a registry is asked again that answers too many others; test: none, it would
/// take as long.
const PAUSE: Duration = Duration::from_secs(1);

/// An answer, whose properties are those of `T`.
#[derive(Deserialize, Debug)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    answer: T,
}

/// A repository. What is not known is none.
#[derive(Deserialize, Debug)]
pub(crate) struct RepositoryView {
    pub(crate) name: String,
    pub(crate) tags: Option<usize>,
    /// Bytes of all that it holds, each blob once.
    pub(crate) size: Option<u64>,
    /// When its newest tag was pushed.
    pub(crate) pushed: Option<String>,
    /// Whether all of it was looked at.
    pub(crate) complete: bool,
}

#[derive(Deserialize, Debug)]
struct RepositoriesView {
    entries: Vec<RepositoryView>,
    next: Option<String>,
}

/// A tag. What is not known is none.
#[derive(Deserialize, Clone, Debug)]
pub(crate) struct TagView {
    pub(crate) name: String,
    pub(crate) digest: Option<String>,
    pub(crate) media_type: Option<String>,
    pub(crate) pushed: Option<String>,
    pub(crate) pulled: Option<String>,
    /// Bytes of all that it leads to.
    pub(crate) size: Option<u64>,
    #[serde(default)]
    pub(crate) platforms: Vec<String>,
    #[serde(default)]
    pub(crate) immutable: bool,
}

#[derive(Deserialize, Debug)]
struct TagsView {
    matching: usize,
    tags: Vec<TagView>,
}

/// What only this registry knows of a manifest.
#[derive(Deserialize, Debug)]
pub(crate) struct ImageView {
    pub(crate) pushed: Option<String>,
    /// The tags that lead to it.
    pub(crate) tags: Vec<String>,
    /// Whether these are all.
    pub(crate) tags_complete: bool,
    pub(crate) immutable: bool,
}

/// The repositories that have a text in their names; none, if the registry has no such answers.
///
/// # Errors
/// When it does not give all pages.
pub(crate) async fn repositories(
    registry: &impl Registry,
    text: &str,
) -> Result<Option<Vec<RepositoryView>>, String> {
    let first = format!("/v2/_roadstead/repositories?n={PAGE}&q={text}");
    let (mut path, mut all) = (first.clone(), Vec::new());
    for page in 0..PAGES {
        let answer: Option<RepositoriesView> = ask(registry, &path).await;
        match answer {
            None if page == 0 => return Ok(None),
            None => return Err(format!("the registry does not answer GET {path}")),
            Some(RepositoriesView { entries, next }) => {
                all.extend(entries);
                let Some(next) = next else { return Ok(Some(all)) };
                path = format!("{first}&last={next}");
            }
        }
    }
    Err(format!("the list has more than {PAGES} pages: GET {first}"))
}

/// The tags that have a text in their names; none, if the registry has no such answers. A registry
/// may look at some of very many alone.
pub(crate) async fn tags(
    registry: &impl Registry,
    repository: &RepositoryName,
    text: &str,
) -> Option<Vec<TagView>> {
    let mut all = Vec::new();
    for _ in 0..PAGES {
        let offset = all.len();
        let path = format!("/v2/{repository}/_roadstead/tags?n={PAGE}&offset={offset}&q={text}");
        let answer: Option<TagsView> = ask(registry, &path).await;
        let Some(TagsView { matching, tags }) = answer else {
            return (offset > 0).then_some(all);
        };
        let ended = tags.is_empty() || offset + tags.len() >= matching;
        all.extend(tags);
        if ended {
            break;
        }
    }
    Some(all)
}

/// What a tag or a digest leads to; none, if the registry has no such answers.
pub(crate) async fn image(
    registry: &impl Registry,
    repository: &RepositoryName,
    reference: &str,
) -> Option<ImageView> {
    ask(registry, &format!("/v2/{repository}/_roadstead/image/{reference}")).await
}

/// The longest text that all names have which a pattern matches, if it can be searched for.
pub(crate) fn literal(pattern: &str) -> &str {
    // A set such as `[a-z]` is no text.
    let end = pattern.find('[').unwrap_or(pattern.len());
    let texts = pattern.get(..end).unwrap_or_default().split(['*', '?']);
    let is_of_names = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let texts = texts.filter(|text| text.chars().all(is_of_names));
    texts.max_by_key(|text| text.len()).unwrap_or_default()
}

/// Asks once; none, whatever the registry says but an answer.
async fn ask<T: DeserializeOwned>(registry: &impl Registry, path: &str) -> Option<T> {
    let attempt = async || {
        let request = json(Method::GET, path, Bytes::new())?;
        registry.request(request, ANSWER).await
    };
    let is_busy = |result: &Result<Answer, String>| {
        result.as_ref().is_ok_and(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS)
    };
    let pause = |result: &Result<Answer, String>, _| is_busy(result).then_some(PAUSE);
    let answer = slices::again(RETRIES, attempt, pause).await.ok()?;
    if answer.status != StatusCode::OK || !answer.complete {
        return None;
    }
    let read: Versioned<T> = serde_json::from_slice(&answer.body).ok()?;
    (read.version == VERSION).then_some(read.answer)
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn texts_of_patterns() {
        for (pattern, expected) in [
            ("team/app", "team/app"),
            ("v1.*", "v1."),
            ("team/*/base-image", "/base-image"),
            ("*-rc?", "-rc"),
            ("v[0-9]*-final", "v"),
            ("**", ""),
            ("a b&c*", ""),
        ] {
            assert_eq!(literal(pattern), expected, "{pattern}");
        }
    }
}
