//! The setting that a misspelt name was probably meant to be.

use crate::PREFIX;
use crate::settings::{Row, Shape, rows};
use std::cmp::Reverse;

/// Names that differ by this many letters at most are taken for misspelt.
const TYPOS: usize = 2;

/// The setting nearest to a name that belongs to no row, in the form of a
/// variable without its prefix; `None` if nothing is like it.
pub(crate) fn nearest(name: &str) -> Option<&'static Row> {
    let used = || rows().filter(|row| row.is_used());
    let candidates: Vec<_> = used().map(|row| (row, variable(row))).collect();
    let of_list = candidates.iter().find(|(row, own)| {
        matches!(row.shape, Shape::List | Shape::EachList)
            && after(name, own).is_some_and(|rest| rest.starts_with('_'))
    });
    let found = of_list
        .or_else(|| begins_alike(name, &candidates))
        .or_else(|| ends_alike(name, &candidates))
        .or_else(|| misspelt(name, &candidates))
        .or_else(|| beside(name, &candidates));
    found.map(|(row, _)| *row)
}

type Candidate = (&'static Row, String);

/// `STORAGE_DELETE` for `STORAGE_DELETE_ENABLED`, and `HTTP_ADDRESS` for
/// `HTTP_ADDR`. Of several, the table has the likeliest one first.
fn begins_alike<'a>(name: &str, candidates: &'a [Candidate]) -> Option<&'a Candidate> {
    let longer = candidates.iter().find(|(_, own)| !name.is_empty() && own.starts_with(name));
    longer.or_else(|| {
        let shorter = candidates
            .iter()
            .filter(|(_, own)| after(name, own).is_some_and(|rest| !rest.starts_with('_')));
        shorter.max_by_key(|(_, own)| own.len())
    })
}

/// `TLS_CERT` for `HTTP_TLS_CERTIFICATE`, and `SECRET` for `HTTP_SECRET`: the
/// sections before it are missing. A single word must be whole, or everything
/// would be like something.
fn ends_alike<'a>(name: &str, candidates: &'a [Candidate]) -> Option<&'a Candidate> {
    let several = name.split('_').filter(|part| !part.is_empty()).count() > 1;
    // What is missing of these is no section.
    let mut candidates = candidates.iter().filter(|(row, _)| !row.shape.is_each());
    candidates.find(|(_, own)| {
        let mut tails = own.match_indices('_').map(|(at, _)| &own[at + 1..]);
        tails.any(|tail| tail == name || several && tail.starts_with(name))
    })
}

fn misspelt<'a>(name: &str, candidates: &'a [Candidate]) -> Option<&'a Candidate> {
    let nearest = candidates.iter().min_by_key(|(_, own)| distance(name, own));
    nearest.filter(|(_, own)| distance(name, own) <= TYPOS.min(name.len() / 3))
}

/// The nearest of those that share the most sections with it.
fn beside<'a>(name: &str, candidates: &'a [Candidate]) -> Option<&'a Candidate> {
    let shared = |own: &str| {
        let parts = name.split('_').zip(own.split('_'));
        parts.take_while(|(a, b)| a == b).count()
    };
    let sharing = candidates.iter().filter(|(_, own)| shared(own) > 0);
    sharing.min_by_key(|(_, own)| (Reverse(shared(own)), distance(name, own)))
}

fn variable(row: &Row) -> String {
    row.variable().split_off(PREFIX.len())
}

/// What is left of a name after a shorter one.
fn after<'a>(name: &'a str, shorter: &str) -> Option<&'a str> {
    name.strip_prefix(shorter).filter(|rest| !rest.is_empty())
}

fn distance(a: &str, b: &str) -> usize {
    strsim::damerau_levenshtein(a, b)
}
