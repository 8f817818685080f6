//! Settings that nobody would write: they are read or refused, and nothing
//! else.

use super::read;
use crate::settings::{Shape, rows};

pub(super) const ROUNDS: usize = 50_000;

/// A generator with a fixed seed, so that failures are reproducible.
pub(super) struct Random(fastrand::Rng);

impl Random {
    pub(super) fn new() -> Self {
        Self(fastrand::Rng::with_seed(1))
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    pub(super) fn text(&mut self, pieces: &[&str], most: usize) -> String {
        (0..self.below(most + 1)).map(|_| pieces[self.below(pieces.len())]).collect()
    }
}

#[test]
fn values() {
    const PIECES: [&str; 20] = [
        "",
        " ",
        ",",
        "[",
        "]",
        "\"",
        "true",
        "0",
        "-1",
        "5m",
        "h",
        ":",
        "/",
        "https://",
        "a",
        "::1",
        "99999999999999999999",
        "tls1.3",
        "ü",
        "\0",
    ];
    let settings: Vec<_> = rows()
        .filter(|row| row.is_used())
        .flat_map(|row| {
            let item = (row.shape == Shape::List).then(|| row.variable() + "_0");
            [Some(row.variable()), item].into_iter().flatten()
        })
        .map(|name| name["REGISTRY_".len()..].to_owned())
        .collect();
    let mut random = Random::new();
    let mut accepted = 0;
    for _ in 0..ROUNDS {
        let variables: Vec<_> = (0..=random.below(3))
            .map(|_| (settings[random.below(settings.len())].clone(), random.text(&PIECES, 3)))
            .collect();
        let shown: Vec<_> = variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        match read(&shown) {
            Ok(_) => accepted += 1,
            // Each problem is of a name that was set.
            Err(problems) => assert!(problems.contains("REGISTRY_"), "{shown:?}: {problems}"),
        }
    }
    assert!((ROUNDS / 50..ROUNDS).contains(&accepted), "{accepted}");
}
