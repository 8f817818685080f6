//! Finding out what is lost: a scrub of the registry, without its hashing unless that is
//! asked for.

use super::lost::Lost;
use crate::gc::Display;
use crate::registry::{Registry, message};
use crate::slices::{self, Failure};
use http::StatusCode;
use roadstead_bridge::scrub::{Counts, PATH, Progress, ScrubRequest};
use std::time::Duration;

/// The longest answer to a slice, in bytes.
///
/// Limit: bytes of the answer to a slice of a scrub; test: none, the registry makes shorter ones.
const ANSWER: usize = 16 * 1024 * 1024;

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
        let mut nothing = Display::nothing();
        let progress = slices::patiently(&mut nothing, async || slice(registry, &ask).await).await;
        let progress = progress.map_err(|failure| failure.cause.to_string())?;
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

async fn slice(registry: &impl Registry, ask: &ScrubRequest) -> Result<Progress, Failure> {
    let answer = slices::post(registry, PATH, ask, ANSWER, false).await?;
    if answer.status == StatusCode::NOT_FOUND && message(&answer).is_none() {
        let cause = "this registry cannot be looked through: it is not Roadstead, or older";
        return Err(Failure::new(false, cause));
    }
    slices::content(&answer, "scrub")
}
