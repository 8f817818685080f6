//! Installed programs: whether they exist, and running them.

use crate::skip;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

/// How long a program may take.
const LIMIT: Duration = Duration::from_mins(2);

/// How often to poll.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Whether a program is installed; otherwise prints that the test is skipped.
pub async fn available(test: &str, program: &str) -> bool {
    // Only whether it can be started matters, not its exit status.
    let found = output(Command::new(program).arg("--version")).await.is_ok();
    if !found {
        skip(test, &format!("{program} is not on the PATH"));
    }
    found
}

/// Like [`available`], but fails where the clients are required.
pub async fn required(test: &str, program: &str) -> bool {
    let found = available(test, program).await;
    assert!(found || !clients_required(), "{program} is required and not on the PATH");
    found
}

/// Whether the clients are required on this machine.
pub fn clients_required() -> bool {
    std::env::var("ROADSTEAD_REQUIRE_CLIENTS").is_ok_and(|value| value == "1")
}

/// Runs a program that must succeed; returns its standard output.
pub async fn run(command: &mut Command) -> Vec<u8> {
    try_run(command).await.unwrap_or_else(|failure| panic!("{failure}"))
}

/// Like [`run`], for output in lines.
pub async fn run_text(command: &mut Command) -> String {
    text(run(command).await)
}

/// Runs a program; returns its standard output, or its failure.
pub async fn try_run(command: &mut Command) -> Result<Vec<u8>, String> {
    let output = output(command).await.map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!(
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// Runs a program that must fail; returns its output.
pub async fn run_failing(command: &mut Command) -> String {
    match try_run(command).await {
        Ok(output) => panic!("{command:?} succeeded: {}", text(output)),
        Err(said) => said,
    }
}

/// Output without the last line end.
pub fn text(output: Vec<u8>) -> String {
    String::from_utf8(output).unwrap().trim_end().to_owned()
}

/// Runs a program to its end, within a time limit.
pub async fn output(command: &mut Command) -> std::io::Result<Output> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    timeout(LIMIT, command.output()).await?
}

/// Polls until there is a value, within a time limit.
pub async fn poll<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        sleep(POLL_INTERVAL).await;
    }
}
