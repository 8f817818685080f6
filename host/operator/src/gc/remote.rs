//! Slices of a registry that runs, by its URL.

use super::{Args, Display, Failure, Source};
use crate::client::Client;
use crate::doctor::http::MAX_BODY;
use crate::slices;
use anyhow::bail;
use roadstead_bridge::collect::{PATH, Progress, SliceRequest};
use std::io::{Read, Write};

/// Whether a target is a registry's URL.
pub fn is_url(target: &str) -> bool {
    target.starts_with("http://") || target.starts_with("https://")
}

/// Drives a run of the registry whose URL is the target, or has it answer a question,
/// and prints the result.
///
/// # Errors
/// When flags make no sense, or the run fails.
pub fn run_remote(
    args: &Args,
    input: &mut dyn Read,
    display: &mut Display<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if args.keep {
        bail!("--keep is for a storage that nobody serves: a registry that runs always keeps");
    }
    if args.alone {
        bail!(
            "--alone is for a storage that nothing else uses, and a registry serves this one: stop \
             it, and name its configuration file or its data directory"
        );
    }
    let target = args.target.as_deref().unwrap_or_default();
    slices::at_url(target, &args.connection, input, async |client| match args.question() {
        Some(question) => question.answer(client, args.json, out).await,
        None => args.drive(client, display, out).await,
    })
}

impl Source for Client {
    async fn slice(&mut self, ask: &SliceRequest) -> Result<Progress, Failure> {
        // In a run, the registry may restart.
        let restarts = ask.run.is_some();
        let answer = slices::post(self, PATH, ask, MAX_BODY, restarts).await?;
        slices::content(&answer, "collect")
    }
}
