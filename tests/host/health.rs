//! `roadstead health`, as the health checks of containers call it.

use crate::start::{assert_says, refusal};
use roadstead_tests::{Pair, Registry, command};
use std::path::Path;
use std::process::Command;

/// The check of a registry at this address, with more settings.
fn health(address: &str, settings: &[(&str, String)]) -> Command {
    let mut command = command(["health"]);
    command.env("REGISTRY_HTTP_ADDR", address);
    command.envs(settings.iter().map(|(name, value)| (name, value)));
    command
}

fn start(root: &Path, settings: &[(&str, String)]) -> Registry {
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Registry::start(root, &settings, &[]).unwrap()
}

fn assert_healthy(address: &str, settings: &[(&str, String)]) {
    let output = health(address, settings).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Over HTTP, HTTPS with any certificate, and where clients need one, which the check
/// does not have.
#[test]
fn a_registry_that_answers_is_healthy() {
    let root = tempfile::tempdir().unwrap();
    let pair = Pair::new(&["registry.example"]).unwrap();
    let tls = pair.settings().to_vec();
    let authority = pair.authority().to_str().unwrap().to_owned();
    let clients = [("REGISTRY_HTTP_TLS_CLIENTCAS_0", authority)];
    for settings in [vec![], tls.clone(), tls.into_iter().chain(clients).collect()] {
        let registry = start(root.path(), &settings);
        assert_healthy(&registry.address, &settings);
        // As it is written for all addresses.
        let port = registry.address.rsplit_once(':').unwrap().1;
        assert_healthy(&format!(":{port}"), &settings);
    }
}

#[test]
fn what_does_not_answer_as_a_registry_is_not() {
    let root = tempfile::tempdir().unwrap();
    assert_says(&refusal(health("127.0.0.1:1", &[])), &["127.0.0.1:1", "refused"]);
    // Settings that are not those of the registry that answers.
    let registry = start(root.path(), &[]);
    let tls = Pair::new(&["registry.example"]).unwrap().settings();
    assert_says(&refusal(health(&registry.address, &tls)), &[&registry.address]);
}
