//! The requests that delete, to this registry and to others.

use crate::doctor::http::MAX_BODY;
use crate::image::Image;
use crate::problem::Problem;
use crate::registry::{Answer, Registry, json, message};
use ::http::{Method, StatusCode};
use bytes::Bytes;
use roadstead_oci::{Reference, RepositoryName};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

/// How many tags one page is asked for: a page has to fit what is read of an answer.
///
/// Limit: tags of one page; test: `another_registry_has_its_tags_deleted_by_digest`.
const PAGE: usize = 200;

/// How many pages of tags are read.
///
/// Limit: pages of tags that are read; test: none, it is that of an endless list.
const PAGES: usize = 10_000;

/// How often a deletion of a repository may answer that another one goes on, before it
/// is given up.
///
/// Limit: answers without progress of a deletion; test: `a_deletion_that_does_not_end_is_given_up`.
const IDLE: usize = 120;

/// How long to wait then, if the answer does not say it.
///
/// Limit: pause after an answer without progress, by default; test: none, this registry
/// says it.
const PAUSE: u64 = 1;

/// How long to wait at most, in seconds, whatever the answer says.
///
/// Limit: pause after an answer without progress, at most; test: none, this registry
/// asks for less.
const LONGEST_PAUSE: u64 = 30;

/// Deletes in one registry.
pub(super) struct Removal<'a, R> {
    pub(super) client: &'a R,
    /// What stands before a repository's name on a command line: a registry and a slash, or
    /// nothing.
    pub(super) at: String,
    /// The flags of a storage, if it is one, and a space.
    pub(super) flags: String,
    pub(super) dry_run: bool,
    pub(super) output: &'a mut dyn Write,
}

type Outcome = Result<(), Problem>;

impl<R: Registry> Removal<'_, R> {
    fn say(&mut self, line: &str) {
        // Errors are ignored: the output may have been closed.
        let _ = writeln!(self.output, "{line}");
    }

    /// Deletes a tag, or a manifest with its tags.
    pub(super) async fn image(&mut self, image: &Image) -> Outcome {
        let Image { name, reference } = image;
        let (at, flags) = (self.at.clone(), self.flags.clone());
        let digest = self.digest(name, reference.as_ref()).await?;
        if self.dry_run {
            return self.rehearse(image, &digest).await;
        }
        let answer = self.delete(&manifest(name, reference.as_ref())).await?;
        let deleted = match reference {
            Reference::Tag(tag) if is_unsupported(&answer) => {
                let others = self.tags_of(name, &digest, tag.as_str()).await?;
                if !others.is_empty() {
                    return Err(Problem::Failed(format!(
                        "this registry deletes no tag by itself, and its manifest has other tags: \
                         {}; to delete them all: roadstead rm {flags}{at}{name}@{digest}",
                        others.join(", ")
                    )));
                }
                let answer = self.delete(&manifest(name, &digest)).await?;
                accepted(&answer)?;
                format!("deleted {at}{name}@{digest}, which {tag} led to")
            }
            Reference::Tag(tag) => {
                accepted(&answer)?;
                format!(
                    "deleted {at}{name}:{tag}; its manifest stays, and is deleted by: \
                     roadstead rm {flags}{at}{name}@{digest}"
                )
            }
            Reference::Digest(_) => {
                accepted(&answer)?;
                format!("deleted {at}{name}@{digest}, with its tags")
            }
        };
        self.say(&deleted);
        Ok(())
    }

    async fn rehearse(&mut self, image: &Image, digest: &str) -> Outcome {
        let (Image { name, reference }, at) = (image, &self.at);
        let line = match reference {
            Reference::Tag(tag) => {
                format!("would delete {at}{name}:{tag}, which leads to {digest}")
            }
            Reference::Digest(_) => {
                let tags = self.tags_of(name, digest, "").await?;
                let tags = if tags.is_empty() { "none".to_owned() } else { tags.join(", ") };
                format!("would delete {at}{name}@{digest}, with its tags: {tags}")
            }
        };
        self.say(&line);
        Ok(())
    }

    /// Deletes all of a repository.
    pub(super) async fn repository(&mut self, name: &RepositoryName) -> Outcome {
        let at = self.at.clone();
        if self.dry_run {
            let (tags, digests) = self.content(name).await?;
            self.say(&format!(
                "would delete {at}{name}: {tags} tags that lead to {} manifests, and \
                 whatever has no tag",
                digests.len()
            ));
            return Ok(());
        }
        let path = format!("/v2/{name}/_roadstead/repository");
        let (mut totals, mut idle) = ([0_u64; 3], 0);
        loop {
            let answer = self.delete(&path).await?;
            let unknown = answer.status == StatusCode::NOT_FOUND;
            let began = totals != [0; 3];
            if unknown && code(&answer) == "NAME_UNKNOWN" && !began {
                return Err(Problem::Missing("there is no such repository".to_owned()));
            }
            if (unknown || answer.status == StatusCode::METHOD_NOT_ALLOWED)
                && !is_disabled(&answer)
                && !began
            {
                return self.by_tags(name).await;
            }
            // Another client may have deleted the rest.
            if !(unknown && began) {
                accepted(&answer)?;
            }
            let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let counts = ["tags", "manifests", "blobs"].map(|key| json[key].as_u64().unwrap_or(0));
            for (total, count) in totals.iter_mut().zip(counts) {
                *total += count;
            }
            let [tags, manifests, blobs] = totals;
            if unknown || json["complete"].as_bool() != Some(false) {
                self.say(&format!(
                    "deleted {at}{name}: {tags} tags, {manifests} manifests, and its hold \
                     on {blobs} blobs"
                ));
                return Ok(());
            }
            if counts == [0; 3] && json["objects"].as_u64().unwrap_or(0) == 0 {
                idle += 1;
                if idle > IDLE {
                    let problem = "another deletion of this repository goes on; try again";
                    return Err(Problem::Failed(problem.to_owned()));
                }
                let wait = answer.header("retry-after").and_then(|value| value.parse().ok());
                let wait = wait.unwrap_or(PAUSE).min(LONGEST_PAUSE);
                tokio::time::sleep(Duration::from_secs(wait)).await;
            } else {
                idle = 0;
                self.say(&format!(
                    "deleting {at}{name}: {tags} tags, {manifests} manifests so far"
                ));
            }
        }
    }

    /// Deletes what the tags of a repository lead to: all that can be found where a
    /// registry has no request for the whole.
    async fn by_tags(&mut self, name: &RepositoryName) -> Outcome {
        let at = self.at.clone();
        let (tags, digests) = self.content(name).await?;
        for digest in &digests {
            let answer = self.delete(&manifest(name, digest)).await?;
            accepted(&answer)?;
        }
        self.say(&format!(
            "deleted {at}{name}: {tags} tags and their {} manifests; this registry has no \
             request for a whole repository, so that manifests without a tag stay",
            digests.len()
        ));
        Ok(())
    }

    /// How many tags a repository has, and what they lead to.
    async fn content(&self, name: &RepositoryName) -> Result<(usize, BTreeSet<String>), Problem> {
        let tags = self.tags(name).await?;
        let mut digests = BTreeSet::new();
        for tag in &tags {
            match self.digest(name, tag).await {
                Ok(digest) => drop(digests.insert(digest)),
                Err(Problem::Missing(_)) => {}
                Err(problem) => return Err(problem),
            }
        }
        Ok((tags.len(), digests))
    }

    /// The tags that lead to a manifest, but one.
    async fn tags_of(
        &self,
        name: &RepositoryName,
        digest: &str,
        but: &str,
    ) -> Result<Vec<String>, Problem> {
        let mut found = Vec::new();
        for tag in self.tags(name).await? {
            if tag != but && self.digest(name, &tag).await.is_ok_and(|other| other == digest) {
                found.push(tag);
            }
        }
        Ok(found)
    }

    /// All tags of a repository.
    async fn tags(&self, name: &RepositoryName) -> Result<Vec<String>, Problem> {
        let mut tags: Vec<String> = Vec::new();
        for _ in 0..PAGES {
            let last = tags.last().map(|last| format!("&last={last}")).unwrap_or_default();
            let path = format!("/v2/{name}/tags/list?n={PAGE}{last}");
            let answer = self.send(Method::GET, &path).await?;
            if answer.status == StatusCode::NOT_FOUND {
                return Err(Problem::Missing("there is no such repository".to_owned()));
            }
            accepted(&answer)?;
            let json: Value = serde_json::from_slice(&answer.body)
                .map_err(|_| Problem::Failed("the list of tags is not JSON".to_owned()))?;
            let page = json["tags"].as_array().cloned().unwrap_or_default();
            let before = tags.len();
            tags.extend(page.iter().filter_map(Value::as_str).map(str::to_owned));
            if answer.header("link").is_none() || tags.len() == before {
                break;
            }
        }
        Ok(tags)
    }

    /// The digest that a tag or a digest stands for.
    async fn digest(&self, name: &RepositoryName, reference: &str) -> Result<String, Problem> {
        let answer = self.send(Method::HEAD, &manifest(name, reference)).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(Problem::Missing("it is not there".to_owned()));
        }
        accepted(&answer)?;
        let digest = answer.header("docker-content-digest").unwrap_or(reference);
        match Reference::parse(digest) {
            Ok(Reference::Digest(digest)) => Ok(digest.to_string()),
            _ => Err(Problem::Failed("the registry names no digest for it".to_owned())),
        }
    }

    async fn delete(&self, path: &str) -> Result<Answer, Problem> {
        self.send(Method::DELETE, path).await
    }

    async fn send(&self, method: Method, path: &str) -> Result<Answer, Problem> {
        Ok(self.client.request(json(method, path, Bytes::new())?, MAX_BODY).await?)
    }
}

fn manifest(name: &RepositoryName, reference: &str) -> String {
    format!("/v2/{name}/manifests/{reference}")
}

/// The code of an error of the API.
fn code(answer: &Answer) -> String {
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    json["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
}

/// Whether deletion is off, by the words of this registry and of distribution.
fn is_disabled(answer: &Answer) -> bool {
    let allow = answer.header("allow").unwrap_or("GET");
    answer.status == StatusCode::METHOD_NOT_ALLOWED && !allow.contains("DELETE")
}

/// Whether a registry does not delete a tag by its name.
fn is_unsupported(answer: &Answer) -> bool {
    let unsupported = code(answer);
    let words = ["UNSUPPORTED", "DIGEST_INVALID", "TAG_INVALID", "MANIFEST_INVALID"];
    answer.status == StatusCode::BAD_REQUEST
        || answer.status == StatusCode::METHOD_NOT_ALLOWED && !is_disabled(answer)
        || answer.status == StatusCode::NOT_FOUND && words.contains(&unsupported.as_str())
}

fn accepted(answer: &Answer) -> Outcome {
    let message = message(answer).filter(|message| !message.is_empty());
    let message = message.map(|message| format!(": {message}")).unwrap_or_default();
    Err(Problem::Failed(match answer.status {
        status if status.is_success() => return Ok(()),
        StatusCode::NOT_FOUND => return Err(Problem::Missing("it is not there".to_owned())),
        StatusCode::METHOD_NOT_ALLOWED => format!(
            "the registry does not allow deletion; its operator can set \
             REGISTRY_STORAGE_DELETE_ENABLED=true{message}"
        ),
        StatusCode::FORBIDDEN => {
            format!("the user may not delete here (403){message}; with rules: docs/access.md")
        }
        status => format!("the registry answers {status}{message}"),
    }))
}
