//! What distribution's users have: its keys, and what becomes of each.

use super::{given, manual};
use std::collections::BTreeSet;

/// The keys of distribution 2 and 3, without the marks of lists.
fn keys() -> impl Iterator<Item = String> {
    in_files().map(|key| key.replace("[]", ""))
}

/// The same as they stand in a file, with `[]` after a list of mappings.
pub(super) fn in_files() -> impl Iterator<Item = &'static str> {
    let lines = include_str!("distribution.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let (versions, key) = line.split_once(' ').expect(line);
        assert!(["2", "3", "23", "-"].contains(&versions), "{line}");
        key
    })
}

/// What becomes of a key, in the words of the documentation, by what is said of
/// a file that has it.
fn fate(key: &str) -> &'static str {
    let settings = given(&[(&key.replace("[]", "[0]"), Some("x"))], &[]);
    let (mut problems, warnings) = (settings.problems(), settings.warnings());
    // Nor is anything else in its section.
    problems.retain(|problem| !problem.contains(" holds nothing: "));
    match (problems.as_slice(), warnings.as_slice(), settings.slots.as_slice()) {
        ([problem], [], []) if problem.contains(" is not supported: ") => "refused",
        ([], [_], []) => "ignored, with a warning",
        ([], [], []) => "ignored",
        ([], [], [_]) => "honoured",
        _ => panic!("{key}: {problems:?} {warnings:?}"),
    }
}

/// A row of the documentation's table.
struct Row<'a> {
    keys: Vec<&'a str>,
    here: &'a str,
    note: &'a str,
}

/// The rows of the table that `docs/migrate.md` has, which users read.
fn rows(text: &str) -> Vec<Row<'_>> {
    let (_, table) = text.split_once("<!-- distribution: begin -->").expect("a mark");
    let (table, _) = table.split_once("<!-- distribution: end -->").expect("a mark");
    let lines = table.lines().filter(|line| line.starts_with("| `"));
    lines
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [keys, here, note] = cells[..] else { panic!("{line}") };
            let keys = keys.split("<br>").map(|key| key.trim_matches('`')).collect();
            Row { keys, here: here.trim_matches('*'), note }
        })
        .collect()
}

/// How much of a key a row's key names, if it is about it.
fn covers(row: &str, key: &str) -> Option<usize> {
    let section = row.strip_suffix(".*").unwrap_or(row);
    let rest = key.strip_prefix(section)?;
    (rest.is_empty() || rest.starts_with('.')).then_some(section.len())
}

/// A key that is honoured has a row of its own; a section that is refused or
/// ignored can stand for all keys below it.
#[test]
fn the_documentation_says_what_becomes_of_every_key() {
    let text = manual::migrate();
    let table = rows(&text);
    for key in in_files() {
        let plain = key.replace("[]", "");
        let found = table.iter().flat_map(|row| row.keys.iter().map(move |name| (name, row)));
        let found = found.filter_map(|(name, row)| Some((covers(name, &plain)?, name, row)));
        let (_, name, row) = found.max_by_key(|(length, ..)| *length).expect(&plain);
        let said = if row.here.starts_with("only ") { "honoured" } else { row.here };
        assert_eq!(said, fate(key), "{key}, by the row of {name}");
        assert!(said != "honoured" || **name == plain, "{key} is not {name}");
        assert!(row.here == "honoured" || !row.note.is_empty(), "{key}: what to do instead?");
    }
}

/// A key that distribution does not have is our own, or a mistake.
#[test]
fn the_documentation_has_no_other_keys() {
    let text = manual::migrate();
    let known: BTreeSet<_> = keys().collect();
    for name in rows(&text).iter().flat_map(|row| &row.keys) {
        assert!(
            known.iter().any(|key| covers(key, name).or(covers(name, key)).is_some()),
            "{name}"
        );
    }
}
