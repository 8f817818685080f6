//! What was found, in words, with what to do about it.

use super::saved::Saved;
use crate::gc::summary::{count, size};
use crate::terminal::harmless;
use anyhow::Context as _;
use roadstead_bridge::scrub::{Finding, Kind};
use std::io::Write;
use std::time::Duration;

/// The longest line of a finding, in characters: parts of it come from a registry.
///
/// Limit: characters of a line of `roadstead scrub`; test: `lines_are_short_and_harmless`.
const MAX_LINE: usize = 1000;

/// Prints a finding in one line.
pub(super) fn finding(finding: &Finding, out: &mut dyn Write) -> anyhow::Result<()> {
    let line: String = harmless(&line(finding)).chars().take(MAX_LINE).collect();
    writeln!(out, "{line}").context("cannot print what was found")
}

fn line(finding: &Finding) -> String {
    let kind = finding.kind;
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
    let digest = text(&finding.digest);
    let at = text(&finding.repository);
    let of = || format!("{at}@{}", text(&finding.manifest));
    let tag = || format!("{at}:{}", text(&finding.tag));
    let because = finding.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
    let (what, todo) = match kind {
        Kind::Corrupt => (
            format!(
                "{digest} has other bytes: {} with {}",
                finding.size.map_or_else(|| "?".to_owned(), size),
                text(&finding.computed)
            ),
            "--quarantine moves it away; then push an image with it again",
        ),
        Kind::Unreadable => (
            format!("{digest} cannot be read{because}"),
            "check the disk or the store; then scrub again",
        ),
        Kind::Quarantined => (
            format!("{digest} was moved to _quarantined beside it"),
            "push an image with it again, and delete that file when nobody wants it",
        ),
        Kind::NotQuarantined => {
            (format!("{digest} stays in its place{because}"), "scrub again if it is still damaged")
        }
        Kind::ManifestMissing => (
            format!("{at} holds the manifest {digest}, whose bytes are gone"),
            "push it again, or delete it by its digest; until then, garbage is not collected",
        ),
        Kind::ContentMissing => (
            format!("{} needs {digest}{because}", of()),
            "push the image again, or roadstead rescue it from where it is pulled",
        ),
        Kind::ContentCorrupt => (
            format!("{} needs {digest}, which has other bytes", of()),
            "--quarantine moves the blob away; then push the image again",
        ),
        Kind::WrongSize => (
            format!(
                "{} says that {digest} has {}, and it has {}",
                of(),
                finding.expected.map_or_else(|| "?".to_owned(), bytes),
                finding.size.map_or_else(|| "?".to_owned(), bytes)
            ),
            "clients refuse it; build and push the image again",
        ),
        Kind::ChildMissing => (
            format!("{} names the manifest {digest}, which the repository does not hold", of()),
            "nothing, if only some platforms were pushed; otherwise push it",
        ),
        Kind::LinkDamaged => (
            format!("{at} has a damaged link to the manifest {digest}{because}"),
            "push the manifest again",
        ),
        Kind::TagDangling => (
            format!("{} leads to {digest}, which the repository does not hold", tag()),
            "push the tag again, or delete it",
        ),
        Kind::TagDamaged => {
            (format!("{} holds no digest{because}", tag()), "push the tag again, or delete it")
        }
        Kind::ReferrerDangling => (
            format!("{at} lists the manifest {digest}, which it does not hold{because}"),
            "nothing: clients do not see it; push what refers to the subject again if it is missed",
        ),
    };
    format!("{kind}: {what}; {todo}")
}

/// Prints the result of a scrub, as far as it has come.
pub(super) fn result(
    saved: &Saved,
    done: bool,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let text = if json {
        serde_json::json!({
            "done": done,
            "findings": saved.findings,
            "dropped": saved.dropped,
            "counts": saved.counts,
            "hashed": saved.hashed,
            "cursor": saved.cursor,
        })
        .to_string()
    } else {
        summary(saved)
    };
    writeln!(out, "{text}").context("cannot print the result")
}

fn summary(saved: &Saved) -> String {
    let counts = &saved.counts;
    let mut lines = vec![format!(
        "{} with {}, of which {} were hashed; {}, {}, {}, {}",
        count(counts.blobs, "blob", "blobs"),
        size(counts.bytes),
        size(saved.hashed),
        count(counts.repositories, "repository", "repositories"),
        count(counts.manifests, "manifest", "manifests"),
        count(counts.tags, "tag", "tags"),
        count(counts.referrers, "referrer", "referrers"),
    )];
    if counts.empty_links > 0 {
        let empty = count(counts.empty_links, "link", "links");
        lines
            .push(format!("{empty} to blobs whose data is gone: harmless where no image needs it"));
    }
    if counts.sparse > 0 {
        let blobs = count(counts.sparse, "blob", "blobs");
        lines.push(format!("{blobs} of images are not held, which the settings allow"));
    }
    for (kind, name) in Kind::ALL {
        let found = saved.findings.iter().filter(|finding| finding.kind == kind).count();
        if found > 0 {
            lines.push(format!("{name}: {found}"));
        }
    }
    let more = counts.unlisted.saturating_add(saved.dropped);
    if more > 0 {
        lines.push(format!("{more} more are not listed"));
    }
    if !saved.is_damaged() {
        lines.push("nothing is damaged".to_owned());
    }
    lines.join("\n")
}

fn bytes(bytes: u64) -> String {
    count(bytes, "byte", "bytes")
}

/// A time of some hours.
pub(super) fn hours(time: Duration) -> String {
    let minutes = time.as_secs().div_ceil(60);
    format!("{} h {} min", minutes / 60, minutes % 60)
}
