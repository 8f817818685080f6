//! Spans on their way to a receiver, which writes down what it gets and answers as it is
//! told to.

mod collector;
mod decoded;
mod delivery;
mod environment;
mod receiver;
mod spans;

use crate::environment::{Resource, Settings};
use crate::traces::Traces;
use std::time::Duration;
use tokio::runtime::Handle;

/// Enough for anything that is to happen at once, on a machine that is busy.
const SOON: Duration = Duration::from_secs(30);

const RESOURCE: Resource<'static> = Resource {
    version: "1.2.3",
    component: Some("sha256:abc"),
    roots: rustls::RootCertStore::empty,
};

/// Settings from variables, with short pauses.
fn settings(variables: &[(&str, &str)]) -> Settings {
    let mut settings = read(variables).unwrap().unwrap();
    settings.schedule.pause = Duration::from_millis(10);
    settings
}

fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
    let variable = |name: &str| {
        let found = variables.iter().rev().find(|variable| variable.0 == name);
        found.map(|variable| variable.1.to_owned())
    };
    Settings::read(&variable, RESOURCE)
}

fn start(variables: &[(&str, &str)]) -> Traces {
    Traces::start(settings(variables), &Handle::current())
}

/// Waits until something is so.
async fn until(what: &str, so: impl Fn() -> bool) {
    let waited = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, waited).await.unwrap_or_else(|_| panic!("never: {what}"));
}
