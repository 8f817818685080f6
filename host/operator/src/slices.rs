//! What commands share that have a registry do something a slice at a time: how they ask
//! for one, and for how long they try again.

use crate::client::{Client, Connection};
use crate::doctor::http::Answer;
use crate::gc::Display;
use crate::registry::{Registry, json, message};
use crate::runtime;
use crate::terminal::harmless;
use anyhow::anyhow;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::Read;
use std::time::Duration;
use tokio::runtime::Builder;

/// How often a slice is tried again that failed in a way which may pass.
///
/// Limit: failures in a row that `roadstead gc`, `scrub` and the search of `rescue` survive; test: `slices_that_fail_are_tried_again`.
pub(crate) const RETRIES: u32 = 5;

/// The pause before the first of these; each one doubles it.
///
/// Limit: first pause of commands that ask a registry after a failure; test: none, it would take as long.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long a slice may take. It is bounded by operations and bytes, and a store may be
/// slow.
///
/// Limit: time of a request of `roadstead gc` and `scrub` to a registry; test: none, it would take as long.
const LIMIT: Duration = Duration::from_mins(5);

/// How often a question is asked again of a registry that is busy, or fails in a way that may pass.
///
/// Limit: refusals in a row that a question of `roadstead gc`, `du` and `retention` survives; test: `questions_are_asked_again`.
const QUESTION_RETRIES: u32 = 10;

/// The pause before that.
///
/// Limit: pause of `roadstead gc`, `du` and `retention` before they ask again; test: none, it would take as long.
const QUESTION_PAUSE: Duration = Duration::from_secs(1);

/// Why a slice was not done.
#[derive(Debug)]
pub struct Failure {
    /// Whether it may be done when it is asked for again.
    pub passes: bool,
    /// The cause.
    pub cause: anyhow::Error,
}

impl Failure {
    /// By what a registry says, or may have said.
    pub(crate) fn new(passes: bool, cause: &str) -> Self {
        Self { passes, cause: anyhow!(harmless(cause)) }
    }
}

/// Does something until there is no reason to do it again, at most `retries` times more.
/// `pause` says how long to wait before that, by the result and by how often it was done again,
/// or that the result is the one that is wanted.
pub(crate) async fn again<T>(
    retries: u32,
    mut attempt: impl AsyncFnMut() -> T,
    mut pause: impl FnMut(&T, u32) -> Option<Duration>,
) -> T {
    for retry in 0..retries {
        let result = attempt().await;
        let Some(pause) = pause(&result, retry) else { return result };
        tokio::time::sleep(pause).await;
    }
    attempt().await
}

/// The pause before something is tried again: each doubles the one before.
pub(crate) fn doubled(retry: u32) -> Duration {
    RETRY_PAUSE * (1 << retry)
}

/// Has a slice done, again if it fails in a way that may pass.
///
/// # Errors
/// When it fails in another way, or too often.
pub(crate) async fn patiently<T>(
    display: &mut Display<'_>,
    slice: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let pause = |result: &Result<T, Failure>, retry| match result {
        Err(failure) if failure.passes => {
            display.line(&format!("{:#}; trying again", failure.cause));
            Some(doubled(retry))
        }
        _ => None,
    };
    again(RETRIES, slice, pause).await
}

/// Sends a request of JSON. `restarts` says whether one that is not answered may be asked
/// again.
pub(crate) async fn post(
    registry: &impl Registry,
    path: &str,
    ask: &impl Serialize,
    most: usize,
    restarts: bool,
) -> Result<Answer, Failure> {
    let body = serde_json::to_vec(ask);
    let body = body.map_err(|error| Failure::new(false, &error.to_string()))?;
    let request = json(Method::POST, path, Bytes::from(body));
    let request = request.map_err(|problem| Failure::new(false, &problem))?;
    let answer = registry.request(request, most).await;
    answer.map_err(|problem| Failure::new(restarts, &problem))
}

/// Asks a registry a question, again while it is busy. `verb` is what is asked for.
///
/// # Errors
/// When there is no answer of JSON, of at most `most` bytes.
pub(crate) async fn question<T: DeserializeOwned>(
    registry: &impl Registry,
    path: &str,
    most: usize,
    verb: &str,
) -> anyhow::Result<T> {
    let ask = async || {
        let fails = |problem: String| Failure::new(false, &problem);
        let request = json(Method::GET, path, Bytes::new()).map_err(fails)?;
        let answer = registry.request(request, most).await.map_err(fails)?;
        if !answer.complete {
            return Err(Failure::new(false, "the registry's answer is too long"));
        }
        content(&answer, verb)
    };
    let passes = |result: &Result<T, Failure>| matches!(result, Err(failure) if failure.passes);
    let pause = |result: &Result<T, Failure>, _| passes(result).then_some(QUESTION_PAUSE);
    again(QUESTION_RETRIES, ask, pause).await.map_err(|failure| failure.cause)
}

/// Reads the JSON of an answer. `verb` is what was asked for.
pub(crate) fn content<T: DeserializeOwned>(answer: &Answer, verb: &str) -> Result<T, Failure> {
    if answer.status != StatusCode::OK {
        return Err(failure_of(answer, verb));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| Failure::new(false, &format!("the registry's answer: {error}")))
}

/// Why a registry did not do what it was asked to, by an answer that is no success.
fn failure_of(answer: &Answer, verb: &str) -> Failure {
    let said = match message(answer) {
        Some(message) => message,
        None if answer.status == StatusCode::NOT_FOUND => {
            format!("this registry does not {verb} by request: it is not Roadstead, or older")
        }
        None => "the answer is no error of a registry".to_owned(),
    };
    let passes = answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS;
    Failure::new(passes, &format!("{}: {said}", answer.status))
}

/// Does something with the registry of a URL.
///
/// # Errors
/// When the URL or the flags make no sense, or it fails.
pub(crate) fn at_url<T>(
    target: &str,
    connection: &Connection,
    input: &mut dyn Read,
    work: impl AsyncFnOnce(&mut Client) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let user = connection.credentials(input).map_err(anyhow::Error::msg)?;
    let client = Client::new(target, connection, user, LIMIT);
    let mut client = client.map_err(anyhow::Error::msg)?;
    runtime::block_on(Builder::new_current_thread(), work(&mut client))?
}
