//! Slices of a registry that runs, by its URL.

use super::{Args, Display, Failure, Source};
use crate::client::Client;
use crate::doctor::http::Answer;
use crate::terminal::harmless;
use anyhow::{anyhow, bail};
use bytes::Bytes;
use http::{Method, StatusCode};
use roadstead_bridge::collect::{PATH, Progress, SliceRequest};
use std::io::{Read, Write};
use std::time::Duration;

/// How long a slice may take. It is bounded by operations, and a store may be slow.
///
/// Limit: time of a request of `roadstead gc` to a registry; test: none, it would take as long.
const LIMIT: Duration = Duration::from_mins(5);

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
    let user = args.connection.credentials(input).map_err(anyhow::Error::msg)?;
    let target = args.target.as_deref().unwrap_or_default();
    let client = Client::new(target, &args.connection, user, LIMIT);
    let mut client = client.map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        match args.question() {
            Some(question) => question.answer(&client, args.json, out).await,
            None => args.drive(&mut client, display, out).await,
        }
    });
    // Does not wait for a name server that does not answer.
    runtime.shutdown_background();
    result
}

impl Source for Client {
    async fn slice(&mut self, ask: &SliceRequest) -> Result<Progress, Failure> {
        let failed = |passes, cause: String| Failure { passes, cause: anyhow!(harmless(&cause)) };
        let body = serde_json::to_vec(ask).map_err(|error| failed(false, error.to_string()))?;
        let answer = self.send(Method::POST, PATH, Bytes::from(body)).await;
        // In a run, the registry may restart.
        let answer = answer.map_err(|problem| failed(ask.run.is_some(), problem))?;
        if answer.status == StatusCode::OK {
            return serde_json::from_slice(&answer.body)
                .map_err(|error| failed(false, format!("the registry's answer: {error}")));
        }
        Err(failure_of(&answer, "collect"))
    }
}

/// Why a registry did not do what it was asked to, by an answer that is no success.
pub(crate) fn failure_of(answer: &Answer, verb: &str) -> Failure {
    let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let said = match said["errors"][0]["message"].as_str() {
        Some(message) => message.to_owned(),
        None if answer.status == StatusCode::NOT_FOUND => {
            format!("this registry does not {verb} by request: it is not Roadstead, or older")
        }
        None => "the answer is no error of a registry".to_owned(),
    };
    let passes = answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS;
    Failure { passes, cause: anyhow!(harmless(&format!("{}: {said}", answer.status))) }
}
