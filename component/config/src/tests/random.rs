//! Settings that nobody would write: they are read or refused, and nothing
//! else.

use super::read;
use crate::{NAMES, Use};

const ROUNDS: usize = 50_000;

/// The xorshift64 generator with a fixed seed: failures can be repeated.
struct Random(u64);

impl Random {
    const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn text(&mut self, pieces: &[&str], most: usize) -> String {
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
    let settings = NAMES.iter().filter(|name| name.used == Use::Setting);
    let settings: Vec<_> = settings.map(|name| name.name.replace('*', "0")).collect();
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
