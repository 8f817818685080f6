//! Reproducible random input, and the checks of parsers with it.

use std::fmt::{Debug, Display};

use super::spec_regexp::SpecRegexp;

/// The number of random inputs for each parser.
pub(super) const ROUNDS: usize = 100_000;

/// A generator with a fixed seed, so that failures are reproducible.
pub(super) struct Random(fastrand::Rng);

impl Random {
    pub(super) fn new() -> Self {
        Self(fastrand::Rng::with_seed(1))
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    pub(super) fn one_of<'a>(&mut self, pieces: &[&'a str]) -> &'a str {
        pieces.get(self.below(pieces.len())).copied().unwrap_or("")
    }

    /// Up to `most` of the pieces.
    pub(super) fn text(&mut self, pieces: &[&str], most: usize) -> String {
        (0..self.below(most + 1)).map(|_| self.one_of(pieces)).collect()
    }

    /// `text` with up to two characters replaced, dropped or inserted.
    pub(super) fn damaged(&mut self, text: &str, pieces: &[&str]) -> String {
        let mut characters: Vec<char> = text.chars().collect();
        for _ in 0..self.below(3) {
            let start = self.below(characters.len() + 1);
            let end = (start + self.below(2)).min(characters.len());
            let piece = self.text(pieces, 1);
            characters.splice(start..end, piece.chars());
        }
        characters.into_iter().collect()
    }
}

/// Checks that `parse` accepts the same texts as `accepts`, and that values
/// print as the text that they were parsed from.
pub(super) fn check<T: Display + Debug, E: Debug>(
    mut text: impl FnMut(&mut Random) -> String,
    parse: impl Fn(&str) -> Result<T, E>,
    accepts: impl Fn(&str) -> bool,
) {
    let mut random = Random::new();
    let mut accepted = 0;
    for _ in 0..ROUNDS {
        let text = text(&mut random);
        let parsed = parse(&text);
        assert_eq!(parsed.is_ok(), accepts(&text), "{text:?}: {parsed:?}");
        if let Ok(value) = parsed {
            assert_eq!(value.to_string(), text);
            accepted += 1;
        }
    }
    let share = ROUNDS / 50;
    assert!((share..ROUNDS - share).contains(&accepted), "{accepted}");
}

pub(super) fn regexp(pattern: &str, most: usize) -> impl Fn(&str) -> bool {
    let regexp = SpecRegexp::new(pattern);
    move |text| text.len() <= most && regexp.matches(text)
}
