//! Slices of a registry that runs, by its URL.

use super::{Args, Failure, Outcome, Source, Streams, drive};
use crate::client::Client;
use crate::gc::failure_of;
use anyhow::anyhow;
use bytes::Bytes;
use http::{Method, StatusCode};
use roadstead_bridge::scrub::{PATH, Progress, ScrubRequest};
use std::io::Read;
use std::time::Duration;

/// How long a slice may take. It is bounded by bytes and operations, and a store may be
/// slow.
///
/// Limit: time of a request of `roadstead scrub` to a registry; test: none, it would take as long.
const LIMIT: Duration = Duration::from_mins(5);

/// Scrubs by the registry whose URL is the target.
///
/// # Errors
/// When flags make no sense, or the scrub fails.
pub fn scrub_remote(
    args: &Args,
    input: &mut dyn Read,
    streams: &mut Streams<'_, '_>,
) -> anyhow::Result<Outcome> {
    let user = args.connection.credentials(input).map_err(anyhow::Error::msg)?;
    let target = args.target.as_deref().unwrap_or_default();
    let client = Client::new(target, &args.connection, user, LIMIT);
    let mut client = client.map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(drive(args, &mut client, streams, interrupt()));
    // Does not wait for a name server that does not answer.
    runtime.shutdown_background();
    outcome
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
        let body = serde_json::to_vec(ask);
        let body = body.map_err(|error| Failure { passes: false, cause: anyhow!(error) })?;
        let answer = self.send(Method::POST, PATH, Bytes::from(body)).await;
        // In a scrub, the registry may restart.
        let answer = answer.map_err(|problem| Failure {
            passes: ask.cursor.is_some(),
            cause: anyhow!(crate::terminal::harmless(&problem)),
        })?;
        if answer.status == StatusCode::OK {
            return serde_json::from_slice(&answer.body).map_err(|error| Failure {
                passes: false,
                cause: anyhow!("the registry's answer: {error}"),
            });
        }
        Err(failure_of(&answer, "scrub"))
    }
}
