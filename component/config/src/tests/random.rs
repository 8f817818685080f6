//! Settings that nobody would write: they are read or refused, and nothing
//! else.

use super::read;
use crate::settings::{Shape, rows};

pub(super) const ROUNDS: usize = 50_000;

/// The xorshift64 generator with a fixed seed: failures can be repeated.
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
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
