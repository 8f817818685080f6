//! Programs of the machine: whether it has them, and running them to an end.

use crate::skip;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

/// How long a program may take that a test calls.
const LIMIT: Duration = Duration::from_mins(2);

/// How often something is looked at that nobody tells of.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Whether the machine has a program; says that the test is skipped if not.
pub async fn available(test: &str, program: &str) -> bool {
    // Found is enough: what it answers to this is its own affair.
    let found = output(Command::new(program).arg("--version")).await.is_ok();
    if !found {
        skip(test, &format!("{program} is not on the path"));
    }
    found
}

/// As [`available`], and a failure where the clients are required.
pub async fn required(test: &str, program: &str) -> bool {
    let found = available(test, program).await;
    assert!(found || !clients_required(), "{program} is required and not on the path");
    found
}

/// Whether a machine without clients is one that was set up wrongly.
pub fn clients_required() -> bool {
    std::env::var("ROADSTEAD_REQUIRE_CLIENTS").is_ok_and(|value| value == "1")
}

/// Runs a program that must succeed; its standard output.
pub async fn run(command: &mut Command) -> Vec<u8> {
    try_run(command).await.unwrap_or_else(|failure| panic!("{failure}"))
}

/// As [`run`], for output that is a line or several.
pub async fn run_text(command: &mut Command) -> String {
    text(run(command).await)
}

/// Runs a program; its standard output, or what it failed with.
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

/// Runs a program that must fail; all that it says.
pub async fn run_failing(command: &mut Command) -> String {
    match try_run(command).await {
        Ok(output) => panic!("{command:?} succeeded: {}", text(output)),
        Err(said) => said,
    }
}

/// Output without the end of its last line.
pub fn text(output: Vec<u8>) -> String {
    String::from_utf8(output).unwrap().trim_end().to_owned()
}

/// Runs a program to its end, which must come within a limit.
pub async fn output(command: &mut Command) -> std::io::Result<Output> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    timeout(LIMIT, command.output()).await?
}

/// Looks again and again until there is something, which must be soon enough.
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
