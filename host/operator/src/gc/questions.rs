//! What operators ask about a registry's content, and the answers in words.

use super::summary::size;
use crate::doctor::http::MAX_BODY;
use crate::registry::Registry;
use crate::slices;
use crate::terminal::harmless;
use anyhow::{Context as _, anyhow};
use roadstead_bridge::collect::{
    BlobState, REPORTS, Report, ReportsAnswer, RepositoryUsage, USAGE, UsageAnswer, WHY, WhyAnswer,
    WhyRepository,
};
use roadstead_oci::Digest;
use serde_json::json;
use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// Which runs there were.
    Reports,
    /// How much each repository holds.
    Usage,
    /// What keeps a blob.
    Why(Digest),
}

impl Question {
    /// Has a registry answer it, and prints that in words or as JSON.
    ///
    /// # Errors
    /// When the registry does not answer, or the answer cannot be printed.
    pub async fn answer(
        &self,
        registry: &impl Registry,
        as_json: bool,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let (text, value) = match self {
            Self::Reports => {
                let answer: ReportsAnswer = get(registry, REPORTS).await?;
                (reports(&answer.reports), serde_json::to_value(&answer)?)
            }
            Self::Usage => {
                let mut all = usage(registry).await?;
                all.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
                (table(&all), json!({ "repositories": all }))
            }
            Self::Why(digest) => {
                let answer = why(registry, digest).await?;
                (reasons(digest, &answer), serde_json::to_value(&answer)?)
            }
        };
        let text = if as_json { value.to_string() } else { harmless_lines(&text) };
        writeln!(out, "{text}").context("cannot print the answer")
    }
}

/// A registry elsewhere says it.
fn harmless_lines(text: &str) -> String {
    text.lines().map(harmless).collect::<Vec<_>>().join("\n")
}

async fn usage(registry: &impl Registry) -> anyhow::Result<Vec<RepositoryUsage>> {
    let mut all: Vec<RepositoryUsage> = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let answer: UsageAnswer = get(registry, &page(USAGE, next.as_deref())).await?;
        all.extend(answer.repositories);
        next = advance(next.as_deref(), answer.next)?;
        if next.is_none() {
            return Ok(all);
        }
    }
}

async fn why(registry: &impl Registry, digest: &Digest) -> anyhow::Result<WhyAnswer> {
    let path = format!("{WHY}{digest}");
    let mut all: WhyAnswer = get(registry, &path).await?;
    while let Some(next) = all.next.take() {
        let answer: WhyAnswer = get(registry, &page(&path, Some(&next))).await?;
        all.repositories.extend(answer.repositories);
        all.next = advance(Some(&next), answer.next)?;
    }
    Ok(all)
}

fn page(path: &str, last: Option<&str>) -> String {
    match last {
        // A repository's name needs no escaping.
        Some(last) => format!("{path}?last={last}"),
        None => path.to_owned(),
    }
}

/// Where the next page begins; an endless answer is none.
fn advance(before: Option<&str>, next: Option<String>) -> anyhow::Result<Option<String>> {
    if next.is_some() && next.as_deref() <= before {
        return Err(anyhow!("the registry's answer does not go on"));
    }
    Ok(next)
}

async fn get<T: serde::de::DeserializeOwned>(
    registry: &impl Registry,
    path: &str,
) -> anyhow::Result<T> {
    slices::question(registry, path, MAX_BODY, "collect").await
}

fn reports(reports: &[Report]) -> String {
    if reports.is_empty() {
        return "no run has ended yet".to_owned();
    }
    let line = |report: &Report| {
        let mut done: Vec<String> = Vec::new();
        for (what, blobs, bytes) in [
            ("removed", report.removed, report.removed_bytes),
            ("condemned", report.condemned, report.condemned_bytes),
            ("deleted untagged", report.untagged, report.untagged_bytes),
        ] {
            if blobs > 0 {
                done.push(format!("{what} {blobs} ({})", size(bytes)));
            }
        }
        for (what, number) in [
            ("removed expired tags", report.expired),
            ("left expired tags", report.expiring),
            ("restored tags", report.restored_tags),
            ("gave back", report.given_back),
        ] {
            if number > 0 {
                done.push(format!("{what} {number}"));
            }
        }
        if report.restored > 0 {
            done.push(format!("restored {}", report.restored));
        }
        if !report.passed_over.is_empty() {
            done.push(format!("passed over {}", report.passed_over.join(" ")));
        }
        if report.foreign {
            done.push("another registry writes, so nothing was removed".to_owned());
        }
        if let Some(run) = &report.undone {
            done.push(format!("undid {run}"));
        }
        if let Some(cause) = &report.failure {
            done.push(format!("ended early: {cause}"));
        }
        let done = if done.is_empty() { "nothing to do".to_owned() } else { done.join(", ") };
        format!("{}  {}  {done}", time(report.begun), report.run)
    };
    reports.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn table(usage: &[RepositoryUsage]) -> String {
    if usage.is_empty() {
        return "there are no repositories".to_owned();
    }
    let mut lines = vec![format!(
        "{:>12} {:>10} {:>10} {:>10}  repository",
        "bytes", "blobs", "manifests", "unneeded"
    )];
    lines.extend(usage.iter().map(|one| {
        let least = if one.incomplete { " (at least)" } else { "" };
        let RepositoryUsage { name, manifests, blobs, bytes, unneeded, .. } = one;
        format!("{:>12} {blobs:>10} {manifests:>10} {unneeded:>10}  {name}{least}", size(*bytes))
    }));
    lines.push(
        "what several repositories hold is counted in each; unneeded: links to blobs that no \
         manifest of the repository refers to"
            .to_owned(),
    );
    lines.join("\n")
}

fn reasons(digest: &Digest, answer: &WhyAnswer) -> String {
    let blob = answer.blob.clone().unwrap_or_default();
    let mut lines = vec![match (blob.size, blob.written) {
        (Some(bytes), Some(written)) => {
            format!("{digest}: {}, written {}", size(bytes), time(written))
        }
        _ => format!("{digest}: the storage does not have it"),
    }];
    let kept: u64 = answer.repositories.iter().map(|repository| repository.count).sum();
    lines.push(state(&blob, kept));
    for repository in &answer.repositories {
        lines.extend(of_repository(digest, repository));
    }
    lines.join("\n")
}

/// What becomes of a blob.
fn state(blob: &BlobState, kept: u64) -> String {
    let since = |since: Option<u64>| since.map(time).unwrap_or_default();
    let run = blob.run.as_deref().unwrap_or_default();
    match (blob.state.as_deref(), blob.size, kept) {
        (Some("suspect"), ..) => {
            "its data is damaged; a scrub is about to move it out of the way".to_owned()
        }
        (Some("removing"), ..) => {
            format!("being removed since {}, by run {run}", since(blob.since))
        }
        (Some(_), _, 0) if blob.needed.is_none() => format!(
            "condemned since {}, by run {run}: nothing refers to it; --undo {run} gives it back",
            since(blob.since)
        ),
        (Some(_), ..) => "condemned, and needed again: the next run gives it back".to_owned(),
        (None, None, 0) => "nothing refers to it".to_owned(),
        (None, None, _) => "it is lost: push it again".to_owned(),
        (None, Some(_), 0) => match blob.sighted {
            Some(sighted) => format!(
                "nothing refers to it, as a run has seen {}; a later run condemns it",
                time(sighted)
            ),
            None => "nothing refers to it; a run sees it once it is old enough".to_owned(),
        },
        (None, Some(_), _) => "kept, by:".to_owned(),
    }
}

fn of_repository(digest: &Digest, repository: &WhyRepository) -> Vec<String> {
    let WhyRepository { name, linked, moved, untagged, count, holders } = repository;
    let mut lines: Vec<String> = holders
        .iter()
        .map(|holder| {
            let what = match &holder.index {
                Some(index) => format!("{} of index {index}", holder.manifest),
                None if holder.manifest == digest.as_str() => "it is a manifest here".to_owned(),
                None => holder.manifest.clone(),
            };
            let tags = match holder.tags.as_slice() {
                [] => "no tag".to_owned(),
                tags => format!("tags {}", tags.join(", ")),
            };
            format!("  {name}: {what} ({tags})")
        })
        .collect();
    let more = count.saturating_sub(holders.len() as u64);
    if more > 0 {
        lines.push(format!("  {name}: and {more} more manifests"));
    }
    if let Some(run) = untagged {
        lines.push(format!(
            "  {name}: held this manifest until run {run} deleted it as untagged; a pull by its \
             digest or --undo {run} brings it back"
        ));
    } else if *count == 0 {
        lines.push(match (linked, moved) {
            (true, _) => format!("  {name}: has a link to it, which does not keep it"),
            (false, _) => format!("  {name}: had a link to it, which a run has moved aside"),
        });
    }
    lines
}

/// A time in seconds since 1970, for people.
fn time(seconds: u64) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_secs(seconds.min(MOST_SECONDS))) {
        Some(time) => httpdate::fmt_http_date(time),
        None => String::new(),
    }
}

/// The last second of the year 9999, which is as far as dates go.
const MOST_SECONDS: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::Question;
    use crate::registry::{Content, Incoming, Registry, Unanswered};
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::{BodyExt as _, Full};
    use roadstead_bridge::collect::{
        BlobState, Holder, Report, ReportsAnswer, RepositoryUsage, UsageAnswer, WhyAnswer,
        WhyRepository,
    };
    use roadstead_oci::Digest;
    use std::cell::RefCell;
    use std::collections::VecDeque;

    /// Answers, and the paths that were asked for.
    struct Answers(RefCell<VecDeque<(u16, Bytes)>>, RefCell<Vec<String>>);

    impl Registry for Answers {
        async fn exchange(
            &self,
            request: Request<Content>,
        ) -> Result<Response<Incoming>, Unanswered> {
            self.1.borrow_mut().push(request.uri().to_string());
            let (status, body) = self.0.borrow_mut().pop_front().unwrap();
            let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
            Ok(Response::builder().status(status).body(body).unwrap())
        }
    }

    fn answers(answers: &[&dyn erased::Json]) -> Answers {
        let answers = answers.iter().map(|answer| (200, answer.bytes())).collect();
        Answers(RefCell::new(answers), RefCell::default())
    }

    mod erased {
        pub(super) trait Json {
            fn bytes(&self) -> bytes::Bytes;
        }

        impl<T: serde::Serialize> Json for T {
            fn bytes(&self) -> bytes::Bytes {
                serde_json::to_vec(self).unwrap().into()
            }
        }
    }

    async fn said(registry: &Answers, question: &Question, json: bool) -> String {
        let mut out = Vec::new();
        question.answer(registry, json, &mut out).await.unwrap();
        String::from_utf8(out).unwrap()
    }

    fn digest(digit: char) -> Digest {
        Digest::parse(&format!("sha256:{}", digit.to_string().repeat(64))).unwrap()
    }

    #[tokio::test]
    async fn reports_have_a_line_each() {
        let reports = ReportsAnswer {
            reports: vec![
                Report { run: "7".into(), removed: 2, removed_bytes: 3 << 20, ..Report::default() },
                Report {
                    run: "6".into(),
                    given_back: 1,
                    undone: Some("5".into()),
                    ..Report::default()
                },
                Report { run: "\u{1b}".into(), begun: u64::MAX, ..Report::default() },
            ],
        };
        let text = said(&answers(&[&reports]), &Question::Reports, false).await;
        assert_eq!(
            text,
            "Thu, 01 Jan 1970 00:00:00 GMT  7  removed 2 (3.0 MiB)\n\
             Thu, 01 Jan 1970 00:00:00 GMT  6  gave back 1, undid 5\n\
             Fri, 31 Dec 9999 23:59:59 GMT  ?  nothing to do\n"
        );
        let json = said(&answers(&[&reports]), &Question::Reports, true).await;
        assert_eq!(serde_json::from_str::<ReportsAnswer>(&json).unwrap(), reports);
    }

    #[tokio::test]
    async fn usage_is_sorted_by_bytes() {
        let usage = |name: &str, bytes| RepositoryUsage {
            name: name.to_owned(),
            bytes,
            incomplete: bytes == 9,
            ..RepositoryUsage::default()
        };
        let page = |name: &str, bytes| UsageAnswer {
            repositories: vec![usage(name, bytes)],
            next: Some(name.to_owned()),
        };
        let source = answers(&[&page("a", 9), &page("b/c", 2048), &UsageAnswer::default()]);
        let text = said(&source, &Question::Usage, false).await;
        let rows: Vec<&str> = text.lines().map(str::trim_start).collect();
        assert!(rows[1].starts_with("2.0 KiB") && rows[1].ends_with("b/c"), "{text}");
        assert!(rows[2].starts_with("9 bytes") && rows[2].ends_with("a (at least)"), "{text}");
        let path = "/v2/_roadstead/collect/usage";
        assert_eq!(
            *source.1.borrow(),
            [path.to_owned(), format!("{path}?last=a"), format!("{path}?last=b/c")]
        );
        // A registry that never ends.
        let source = answers(&[&page("b", 1), &page("b", 1)]);
        let error = Question::Usage.answer(&source, false, &mut Vec::new()).await;
        assert!(error.unwrap_err().to_string().contains("does not go on"));
    }

    #[tokio::test]
    async fn reasons_in_words() {
        let (blob, manifest, index) = (digest('a'), digest('b'), digest('c'));
        let stored = BlobState { size: Some(1), written: Some(0), ..BlobState::default() };
        let state = |state: &str| BlobState {
            state: Some(state.to_owned()),
            since: Some(0),
            run: Some("7".to_owned()),
            ..stored.clone()
        };
        let holder = Holder { manifest: manifest.to_string(), tags: vec!["v".into()], index: None };
        let below = Holder { index: Some(index.to_string()), tags: Vec::new(), ..holder.clone() };
        let kept = WhyRepository {
            name: "r".into(),
            count: 3,
            holders: vec![holder, below],
            ..WhyRepository::default()
        };
        let linked = WhyRepository { name: "s".into(), linked: true, ..WhyRepository::default() };
        let untagged = WhyRepository { untagged: Some("9".into()), ..linked.clone() };
        let moved = WhyRepository { name: "t".into(), moved: true, ..WhyRepository::default() };
        let needed = BlobState { needed: Some(0), ..state("unlinked") };
        let sighted = BlobState { sighted: Some(0), ..stored.clone() };
        for (blob, repositories, expected) in [
            (stored.clone(), vec![kept.clone()], "kept, by:"),
            (stored.clone(), vec![kept.clone()], &*format!("r: {manifest} (tags v)")),
            (stored.clone(), vec![kept.clone()], &format!("{manifest} of index {index} (no tag)")),
            (stored.clone(), vec![kept.clone()], "r: and 1 more manifests"),
            (stored.clone(), vec![linked], "s: has a link to it, which does not keep it"),
            (stored.clone(), vec![untagged], "s: held this manifest until run 9 deleted it"),
            (state("unlinked"), vec![moved], "by run 7: nothing refers to it; --undo 7 gives it"),
            (state("unlinked"), vec![kept.clone()], "the next run gives it back"),
            (needed, vec![], "the next run gives it back"),
            (state("suspect"), vec![], "its data is damaged"),
            (state("removing"), vec![], "being removed since Thu, 01 Jan 1970"),
            (sighted, vec![], "nothing refers to it, as a run has seen Thu"),
            (stored, vec![], "a run sees it once it is old enough"),
            (BlobState::default(), vec![], "the storage does not have it\nnothing refers"),
            (BlobState::default(), vec![kept], "it is lost: push it again"),
        ] {
            let page = WhyAnswer { blob: Some(blob), repositories, next: None };
            let question = Question::Why(digest('a'));
            let text = said(&answers(&[&page]), &question, false).await;
            assert!(text.contains(expected), "{expected}: {text}");
        }
        let page = |next: &str| WhyAnswer { next: Some(next.into()), ..WhyAnswer::default() };
        let source = answers(&[&page("a"), &page("b"), &WhyAnswer::default()]);
        said(&source, &Question::Why(blob.clone()), true).await;
        assert_eq!(source.1.borrow()[2], format!("/v2/_roadstead/collect/why/{blob}?last=b"));
    }

    #[tokio::test]
    async fn questions_are_asked_again() {
        let page = |status| {
            let source = answers(&[&ReportsAnswer::default()]);
            source.0.borrow_mut().push_front((status, Bytes::from("{}")));
            source
        };
        for status in [429, 503] {
            let text = said(&page(status), &Question::Reports, false).await;
            assert_eq!(text, "no run has ended yet\n");
        }
        let error = Question::Reports.answer(&page(403), false, &mut Vec::new()).await;
        assert!(error.unwrap_err().to_string().starts_with("403 Forbidden"));
    }
}
