//! Steps: what a task is about to do.

use std::fmt;

/// What a task is about to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What it is.
    pub kind: Kind,
    /// The path or key that it concerns, or what several of them begin with.
    pub place: String,
}

/// What a step does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The request arrives.
    Begin,
    /// The response is sent.
    End,
    /// Reads or lists.
    Read,
    /// Creates, replaces or removes.
    Change,
    /// Nothing that others notice: it can only fail.
    Local,
    /// Waits until others have gone on.
    Wait,
}

impl Step {
    /// Whether the order of two steps of different tasks makes no difference.
    pub(crate) fn commutes(&self, other: &Self) -> bool {
        match (self.kind, other.kind) {
            // Whether one request ended before another began decides what it
            // may find.
            (Kind::Begin, Kind::Begin | Kind::End)
            | (Kind::End, Kind::Begin)
            | (Kind::Wait, _)
            | (_, Kind::Wait) => false,
            (Kind::Begin | Kind::End | Kind::Local, _)
            | (_, Kind::Begin | Kind::End | Kind::Local)
            | (Kind::Read, Kind::Read) => true,
            (Kind::Read | Kind::Change, Kind::Read | Kind::Change) => {
                !within(&self.place, &other.place) && !within(&other.place, &self.place)
            }
        }
    }
}

/// Whether a place is another one, or below it.
fn within(place: &str, other: &str) -> bool {
    place.strip_prefix(other).is_some_and(|rest| {
        rest.is_empty() || rest.starts_with('/') || other.is_empty() || other.ends_with('/')
    })
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Step};

    #[test]
    fn what_commutes() {
        let step = |kind, place: &str| Step { kind, place: place.to_owned() };
        for (a, b, expected) in [
            (step(Kind::Read, "a"), step(Kind::Read, "a"), true),
            (step(Kind::Read, "a"), step(Kind::Change, "a"), false),
            (step(Kind::Read, "a/"), step(Kind::Change, "a/b"), false),
            (step(Kind::Change, "a"), step(Kind::Change, "a/b"), false),
            (step(Kind::Change, "a"), step(Kind::Change, "ab"), true),
            (step(Kind::Change, ""), step(Kind::Read, "ab"), false),
            (step(Kind::Begin, ""), step(Kind::End, ""), false),
            (step(Kind::End, ""), step(Kind::End, ""), true),
            (step(Kind::Begin, ""), step(Kind::Change, "a"), true),
            (step(Kind::Wait, ""), step(Kind::Read, "a"), false),
        ] {
            assert_eq!(a.commutes(&b), expected, "{a}, {b}");
            assert_eq!(b.commutes(&a), expected, "{b}, {a}");
        }
    }
}
