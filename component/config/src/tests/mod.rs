//! Tables of settings: what distribution's names give, what is wrong with
//! them, and what is never shown.

mod auth;
mod cloud;
mod component;
mod distribution;
mod files;
mod general;
mod limits;
mod lists;
mod manual;
mod names;
mod notifications;
mod purging;
mod random;
mod report;
mod secrets;
mod templates;
mod tls;
mod values;

use crate::{Config, Given, Settings, Step};
use std::sync::Arc;

/// Reads variables.
fn full_names(variables: &[(&str, &str)]) -> Result<Config, String> {
    let owned = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    Config::from_variables(owned).map_err(|error| error.to_string())
}

/// Reads variables without their prefix.
fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
    let owned = variables.iter().map(|(n, v)| (format!("REGISTRY_{n}"), (*v).to_owned()));
    Config::from_variables(owned).map_err(|error| error.to_string())
}

/// The one problem with variables.
fn problem(variables: &[(&str, &str)]) -> String {
    let problems = match read(variables) {
        Ok(config) => panic!("{variables:?} is {config:?}"),
        Err(problems) => problems,
    };
    assert_eq!(problems.lines().count(), 1, "{variables:?}: {problems}");
    problems
}

/// A key of `config.yml`, as in `http.tls.clientcas[0]`.
fn path(key: &str) -> Vec<Step> {
    let mut path = Vec::new();
    for part in key.split('.') {
        let mut pieces = part.split('[');
        path.extend(pieces.next().filter(|key| !key.is_empty()).map(|key| Step::Key(key.into())));
        path.extend(pieces.map(|piece| Step::Item(piece.trim_end_matches(']').parse().unwrap())));
    }
    path
}

/// Settings of a `config.yml`, of which some have no value, and variables
/// without their prefix.
fn given(keys: &[(&str, Option<&str>)], variables: &[(&str, &str)]) -> Settings {
    let file = Arc::from("config.yml");
    let keys = keys.iter().map(|(key, value)| Given::key(&file, path(key), value.map(Into::into)));
    let variables =
        variables.iter().map(|(name, value)| Given::variable(format!("REGISTRY_{name}"), *value));
    Settings::gather(keys.chain(variables))
}

/// The one problem with settings of a `config.yml`.
fn problem_of_file(keys: &[(&str, Option<&str>)]) -> String {
    let problems = match given(keys, &[]).config() {
        Ok(config) => panic!("{keys:?} is {config:?}"),
        Err(problems) => problems.to_string(),
    };
    assert_eq!(problems.lines().count(), 1, "{keys:?}: {problems}");
    problems
}
