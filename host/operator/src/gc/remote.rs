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
    let result = runtime.block_on(args.carry_out(&mut client, display, out));
    // Does not wait for a name server that does not answer.
    runtime.shutdown_background();
    result
}

impl Source for Client {
    async fn slice(&mut self, ask: &SliceRequest) -> Result<Progress, Failure> {
        let body = serde_json::to_vec(ask).map_err(|error| failed(false, error.to_string()))?;
        let answer = self.send(Method::POST, PATH, Bytes::from(body)).await;
        // In a run, the registry may restart.
        let answer = answer.map_err(|problem| failed(ask.run.is_some(), problem))?;
        serde_json::from_slice(&accepted(answer)?)
            .map_err(|error| failed(false, format!("the registry's answer: {error}")))
    }

    async fn get(&mut self, path: &str) -> Result<Bytes, Failure> {
        let answer = self.send(Method::GET, path, Bytes::new()).await;
        Ok(accepted(answer.map_err(|problem| failed(false, problem))?)?.into())
    }
}

fn failed(passes: bool, cause: impl AsRef<str>) -> Failure {
    Failure { passes, cause: anyhow!(harmless(cause.as_ref())) }
}

/// The body of an answer, or what the registry says is wrong.
fn accepted(answer: Answer) -> Result<Vec<u8>, Failure> {
    if answer.status == StatusCode::OK {
        return Ok(answer.body);
    }
    let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let said = match said["errors"][0]["message"].as_str() {
        Some(message) => message.to_owned(),
        None if answer.status == StatusCode::NOT_FOUND => {
            "this registry does not collect by request: it is not Roadstead, or older".to_owned()
        }
        None => "the answer is no error of a registry".to_owned(),
    };
    let passes = answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS;
    Err(failed(passes, format!("{}: {said}", answer.status)))
}
