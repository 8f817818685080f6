//! What this registry says in one answer, by the endpoints of docs/api.md. Others do not have them:
//! then a command asks by the plain protocol, or does without.

use crate::pull;
use crate::push::busy;
use crate::registry::{Registry, refusal};
use http::StatusCode;
use roadstead_oci::RepositoryName;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The version of the answers that is understood.
const VERSION: u32 = 1;

/// The longest answer, in bytes.
///
/// Limit: bytes of an answer about repositories, tags or an image that a command reads; test: none,
/// the registry makes shorter ones.
const ANSWER: usize = 8 * 1024 * 1024;

/// How many entries are asked for at a time. An answer with more is none.
///
/// Limit: repositories or tags that a command asks about at a time; test: `repositories_with_what_they_hold`.
const PAGE: usize = 100;

/// How many pages are read.
///
/// Limit: pages of repositories or tags with what they hold that a command reads; test: none, this
/// registry ends before.
const PAGES: usize = 10_000;

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
    kind: String,
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
    pub(crate) digest: String,
    pub(crate) immutable: bool,
}

/// The repositories that have a text in their names, by name; none, if the registry has no such
/// answers.
///
/// # Errors
/// When it does not give all pages.
pub(crate) async fn repositories(
    registry: &impl Registry,
    text: &str,
) -> Result<Option<Vec<RepositoryView>>, String> {
    let first = format!("/v2/_roadstead/repositories?n={PAGE}&q={text}");
    let (mut path, mut all, mut last) = (first.clone(), Vec::new(), String::new());
    for page in 0..PAGES {
        let answer: Option<RepositoriesView> = ask(registry, &path).await?;
        let Some(RepositoriesView { entries, next }) = answer else {
            return if page == 0 { Ok(None) } else { Err(no_page(&path)) };
        };
        if entries.len() > PAGE {
            return Err(no_page(&path));
        }
        all.extend(entries.into_iter().filter(|entry| entry.kind == "repository"));
        let Some(next) = next else { return Ok(Some(all)) };
        if next <= last || RepositoryName::parse(&next).is_err() {
            return Err(no_page(&path));
        }
        path = format!("{first}&last={next}");
        last = next;
    }
    Err(format!("the list has more than {PAGES} pages: GET {first}"))
}

/// The tags that have a text in their names; none, if the registry has no such answers. A registry
/// may look at some of very many alone.
///
/// # Errors
/// When it does not give all pages.
pub(crate) async fn tags(
    registry: &impl Registry,
    repository: &RepositoryName,
    text: &str,
) -> Result<Option<Vec<TagView>>, String> {
    let mut all = Vec::new();
    for page in 0..PAGES {
        let offset = page * PAGE;
        let path = format!("/v2/{repository}/_roadstead/tags?n={PAGE}&offset={offset}&q={text}");
        let answer: Option<TagsView> = ask(registry, &path).await?;
        let Some(TagsView { matching, tags }) = answer else {
            return if page == 0 { Ok(None) } else { Err(no_page(&path)) };
        };
        let count = tags.len();
        if count > PAGE {
            return Err(no_page(&path));
        }
        all.extend(tags);
        if count < PAGE || offset + count >= matching {
            return Ok(Some(all));
        }
    }
    Err(format!("{repository} has more than {PAGES} pages of tags"))
}

/// What a tag or a digest leads to; none, if the registry has no such answers.
///
/// # Errors
/// When the registry does not say.
pub(crate) async fn image(
    registry: &impl Registry,
    repository: &RepositoryName,
    reference: &str,
) -> Result<Option<ImageView>, String> {
    ask(registry, &format!("/v2/{repository}/_roadstead/image/{reference}")).await
}

fn no_page(path: &str) -> String {
    format!("the answer to GET {path} is no page of the list")
}

/// The longest text that all names have which a pattern matches, if it can be searched for.
pub(crate) fn literal(pattern: &str) -> &str {
    // A set such as `[a-z]` is no text.
    let end = pattern.find('[').unwrap_or(pattern.len());
    let texts = pattern.get(..end).unwrap_or_default().split(['*', '?']);
    let is_of_names = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    // `**/` matches nothing too.
    let texts = texts.map(|text| text.trim_start_matches('/'));
    let texts = texts.filter(|text| text.chars().all(is_of_names));
    texts.max_by_key(|text| text.len()).unwrap_or_default()
}

/// Asks; none, if the registry does not know what it is asked, or refuses it: then the plain protocol
/// says why.
async fn ask<T: DeserializeOwned>(
    registry: &impl Registry,
    path: &str,
) -> Result<Option<T>, String> {
    let answer = pull::get(registry, path, ANSWER).await?;
    if busy(answer.status, &answer.headers).is_some() {
        return Err(format!("GET {path} is answered {}", refusal(&answer)));
    }
    if answer.status != StatusCode::OK || !answer.complete {
        return Ok(None);
    }
    let read: Result<Versioned<T>, _> = serde_json::from_slice(&answer.body);
    Ok(read.ok().filter(|read| read.version == VERSION).map(|read| read.answer))
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn texts_of_patterns() {
        for (pattern, expected) in [
            ("team/app", "team/app"),
            ("v1.*", "v1."),
            ("team/*/base-image", "base-image"),
            ("**/app", "app"),
            ("**/*", ""),
            ("*-rc?", "-rc"),
            ("v[0-9]*-final", "v"),
            ("**", ""),
            ("a b&c*", ""),
        ] {
            assert_eq!(literal(pattern), expected, "{pattern}");
        }
    }
}
