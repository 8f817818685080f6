//! Slices of a registry that runs, by its URL.

use super::{Args, Failure, Outcome, Source, Streams, drive};
use crate::client::Client;
use crate::doctor::http::MAX_BODY;
use crate::slices;
use roadstead_bridge::scrub::{PATH, Progress, ScrubRequest};
use std::io::Read;

/// Scrubs by the registry whose URL is the target.
///
/// # Errors
/// When flags make no sense, or the scrub fails.
pub fn scrub_remote(
    args: &Args,
    input: &mut dyn Read,
    streams: &mut Streams<'_, '_>,
) -> anyhow::Result<Outcome> {
    let target = args.target.as_deref().unwrap_or_default();
    slices::at_url(target, &args.connection, input, async |client| {
        drive(args, client, streams, interrupt()).await
    })
}

/// Waits for Ctrl-C.
pub(super) async fn interrupt() {
    // An error means that it cannot be received at all.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Source for Client {
    async fn slice(&mut self, ask: &ScrubRequest) -> Result<Progress, Failure> {
        // In a scrub, the registry may restart.
        let restarts = ask.cursor.is_some();
        let answer = slices::post(self, PATH, ask, MAX_BODY, restarts).await?;
        slices::content(&answer, "scrub")
    }
}
