//! Finding out what is lost: a scrub of the registry, without its hashing unless that is
//! asked for.

use super::lost::Lost;
use crate::gc::Display;
use crate::registry::{Registry, json, message};
use bytes::Bytes;
use http::{Method, StatusCode};
use roadstead_bridge::scrub::{Counts, PATH, Progress, ScrubRequest};
use std::time::Duration;

/// The longest answer to a slice, in bytes.
///
/// Limit: bytes of the answer to a slice of a scrub; test: none, the registry makes shorter ones.
const ANSWER: usize = 16 * 1024 * 1024;

/// How often a slice is tried again that failed in a way which may pass.
///
/// Limit: failures in a row of `rescue` while it looks; test: none, each doubles the pause.
const RETRIES: u32 = 5;

/// The longest pause between two slices, whatever the registry asks for, in milliseconds.
///
/// Limit: pause between two slices of `rescue`; test: none, this registry asks for less.
const LONGEST_WAIT: u64 = 60_000;

/// Looks through all of a registry.
///
/// # Errors
/// When it cannot be looked through.
pub(super) async fn walk(
    registry: &impl Registry,
    hash: bool,
    display: &mut Display<'_>,
) -> Result<(Lost, Counts), String> {
    let (mut lost, mut counts, mut cursor) = (Lost::default(), Counts::default(), None);
    loop {
        let ask = ScrubRequest { cursor, hash, ..ScrubRequest::default() };
        let progress = patient(registry, &ask).await?;
        for finding in &progress.findings {
            lost.add(finding);
        }
        counts.add(&progress.counts);
        display.stage(&progress.stage, progress.percent);
        if progress.cursor.is_none() || progress.cursor == ask.cursor {
            display.end();
            return Ok((lost, counts));
        }
        cursor = progress.cursor;
        tokio::time::sleep(Duration::from_millis(progress.wait.min(LONGEST_WAIT))).await;
    }
}

/// A slice, which is asked for again while the registry cannot do it.
async fn patient(registry: &impl Registry, ask: &ScrubRequest) -> Result<Progress, String> {
    let mut pause = Duration::from_secs(1);
    for _ in 0..RETRIES {
        match slice(registry, ask).await {
            Err(Failure { passes: true, .. }) => tokio::time::sleep(pause).await,
            other => return other.map_err(|failure| failure.cause),
        }
        pause *= 2;
    }
    slice(registry, ask).await.map_err(|failure| failure.cause)
}

struct Failure {
    passes: bool,
    cause: String,
}

async fn slice(registry: &impl Registry, ask: &ScrubRequest) -> Result<Progress, Failure> {
    let fails = |cause: String| Failure { passes: false, cause };
    let body = serde_json::to_vec(ask).map_err(|error| fails(error.to_string()))?;
    let request = json(Method::POST, PATH, Bytes::from(body)).map_err(fails)?;
    let answer = registry.request(request, ANSWER).await.map_err(fails)?;
    if answer.status == StatusCode::OK {
        return serde_json::from_slice(&answer.body)
            .map_err(|error| fails(format!("the registry's answer: {error}")));
    }
    let said = message(&answer);
    let cause = match (said, answer.status) {
        (Some(said), status) => format!("{status}: {said}"),
        (None, StatusCode::NOT_FOUND) => {
            "this registry cannot be looked through: it is not Roadstead, or older".to_owned()
        }
        (None, status) => format!("{status}: the answer is no error of a registry"),
    };
    let passes = answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS;
    Err(Failure { passes, cause })
}
