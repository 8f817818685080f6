//! Tables of settings: what distribution's names give, what is wrong with
//! them, and what is never shown.

mod auth;
mod cloud;
mod general;
mod lists;
mod random;
mod secrets;
mod tls;

use crate::Config;

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
