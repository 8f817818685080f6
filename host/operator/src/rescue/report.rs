//! What `rescue` prints: a line for each lost content of a repository, and what became of
//! all of them.

use super::lost::{Kind, Lost, Need, Place};
use super::restore::{Item, Outcome};
use crate::gc::summary::count;
use crate::terminal::harmless;
use roadstead_bridge::scrub::Counts;
use serde::Serialize;
use std::collections::BTreeMap;

/// The figures of a rescue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub(super) struct Figures {
    /// What the registry still had, or somebody has pushed meanwhile.
    pub(super) given_back: usize,
    pub(super) brought_back: usize,
    /// What a rescue without `--dry-run` would bring back.
    pub(super) available: usize,
    /// What no source has, or not with all its parts.
    pub(super) not_found: usize,
    /// What was found, and could not be brought back.
    pub(super) failed: usize,
    /// Platforms of indexes that are not there, where that is allowed.
    pub(super) left_out: usize,
    /// Tags, links and data that are damaged in another way.
    pub(super) damaged: usize,
}

impl Figures {
    /// Counts what became of everything. With `sparse`, indexes may lack platforms.
    pub(super) fn of(items: &BTreeMap<Place, Item>, lost: &Lost, sparse: bool) -> Self {
        let mut figures = Self { damaged: lost.damaged.len(), ..Self::default() };
        for ((_, kind, _), item) in items {
            let listed = item.needs.iter().all(|need| matches!(need, Need::ListedIn(_)));
            let left_out = sparse && *kind == Kind::Manifest && listed;
            *match &item.outcome {
                Outcome::GivenBack => &mut figures.given_back,
                Outcome::BroughtBack { .. } => &mut figures.brought_back,
                Outcome::Available { .. } => &mut figures.available,
                Outcome::Nowhere { .. } if left_out => &mut figures.left_out,
                Outcome::Nowhere { .. } | Outcome::Incomplete { .. } => &mut figures.not_found,
                Outcome::Failed { .. } => &mut figures.failed,
            } += 1;
        }
        figures
    }

    /// How many contents are still lost.
    pub(super) fn lost(&self) -> usize {
        self.available + self.not_found + self.failed + self.damaged
    }
}

/// The line of a content.
pub(super) fn line((digest, kind, repository): &Place, item: &Item) -> String {
    let needs: Vec<String> = item.needs.iter().map(ToString::to_string).collect();
    let line = format!("{repository}: {kind} {digest} ({}): {}", needs.join(", "), item.outcome);
    harmless(&line)
}

/// What to say at the end, in lines.
pub(super) fn summary(figures: &Figures, counts: &Counts, sources: usize, more: bool) -> String {
    let mut text = format!(
        "looked through {}, {} and {}",
        count(counts.repositories, "repository", "repositories"),
        count(counts.manifests, "manifest", "manifests"),
        count(counts.tags, "tag", "tags")
    );
    let mut say = |line: String| {
        text.push('\n');
        text.push_str(&line);
    };
    if *figures == Figures::default() {
        say("nothing is lost".to_owned());
        return text;
    }
    for (count, what) in [
        (figures.given_back, "given back: the registry still had it"),
        (figures.brought_back, "brought back"),
        (figures.available, "can be brought back: run this without --dry-run"),
        (figures.left_out, "left out of indexes"),
        (figures.damaged, "damaged in another way"),
        (figures.failed, "found, but not brought back"),
        (figures.not_found, "found nowhere"),
    ] {
        if count > 0 {
            say(format!("{count} {what}"));
        }
    }
    if figures.not_found > 0 {
        say(if sources == 0 {
            "to bring them back, name where they may be: --from, with another registry, a backup \
             or an archive (roadstead rescue --help)"
                .to_owned()
        } else {
            "what was found nowhere: push the images again from a machine that has them, or build \
             them again; then delete the tags that lead nowhere"
                .to_owned()
        });
    }
    if more {
        say("there is more: run this again".to_owned());
    }
    text
}

#[derive(Serialize)]
struct Json<'a> {
    repositories: u64,
    manifests: u64,
    tags: u64,
    lost: Vec<Content<'a>>,
    damaged: &'a [String],
    counts: Figures,
    /// Whether another rescue would find more.
    more: bool,
}

#[derive(Serialize)]
struct Content<'a> {
    digest: &'a str,
    kind: Kind,
    repository: &'a str,
    needed_as: Vec<&'a Need>,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

/// All of it as JSON.
pub(super) fn json(
    items: &BTreeMap<Place, Item>,
    lost: &Lost,
    figures: Figures,
    counts: &Counts,
    more: bool,
) -> Result<String, String> {
    let contents = items.iter().map(|((digest, kind, repository), item)| Content {
        digest: digest.as_str(),
        kind: *kind,
        repository: repository.as_str(),
        needed_as: item.needs.iter().collect(),
        outcome: &item.outcome,
    });
    let json = Json {
        repositories: counts.repositories,
        manifests: counts.manifests,
        tags: counts.tags,
        lost: contents.collect(),
        damaged: &lost.damaged,
        counts: figures,
        more,
    };
    serde_json::to_string(&json).map_err(|error| error.to_string())
}
