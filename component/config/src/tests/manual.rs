//! What people are told of the settings is what the table says.

use crate::manual;
use crate::settings::{NOT_EMPTY, State, TOP_LEVEL, entries};
use std::path::{Path, PathBuf};

/// The variable that has the documentation written, and not compared.
pub(super) const BLESS: &str = "ROADSTEAD_BLESS";

/// Text with the part between two marks replaced.
pub(super) fn with(text: &str, name: &str, part: &str) -> String {
    let [begin, end] = ["begin", "end"].map(|end| format!("<!-- {name}: {end} -->\n"));
    let (before, rest) = text.split_once(&begin).expect("a mark");
    let (_, after) = rest.split_once(&end).expect("a mark");
    format!("{before}{begin}{part}{end}{after}")
}

/// A file of the documentation.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

/// The guide for users of distribution.
pub(super) fn migrate() -> String {
    std::fs::read_to_string(file("migrate.md")).unwrap()
}

#[test]
fn the_documentation_is_up_to_date() {
    for (name, mark, part) in [
        ("configuration.md", "settings", manual::settings()),
        ("migrate.md", "distribution", manual::distribution()),
    ] {
        let file = file(name);
        let found = std::fs::read_to_string(&file).unwrap();
        let expected = with(&found, mark, &part);
        if std::env::var_os(BLESS).is_some() {
            std::fs::write(&file, expected).unwrap();
            continue;
        }
        let mut lines = found.lines().zip(expected.lines());
        let differ = lines.find(|(found, expected)| found != expected);
        assert!(
            found == expected,
            "{} is stale, write it by {BLESS}=1 cargo test -p roadstead-config: {differ:?}",
            file.display()
        );
    }
}

#[test]
fn help_has_the_important_ones() {
    let help = manual::help("/home/alice/.local/share/roadstead");
    for expected in [
        "  REGISTRY_HTTP_ADDR                         address to listen on [default: 127.0.0.1:5000]\n",
        "directory for the data [default: /home/alice/.local/share/roadstead]\n",
        "[default: 1024]",
        "[default: 1m]",
        "REGISTRY_AUTH ",
        "REGISTRY_LOG_LEVEL ",
    ] {
        assert!(help.contains(expected), "{expected:?}: {help}");
    }
    // Lines that a terminal shows as they are.
    assert!(help.lines().all(|line| line.len() <= 115), "{help}");
}

#[test]
fn rows_are_complete() {
    for entry in entries() {
        let (row, description) = (entry.row(), entry.describe());
        let section = row.parts().next().unwrap();
        assert!(TOP_LEVEL.contains(&section), "{}", row.key);
        match row.state {
            State::Used => {
                assert!(row.meaning.ends_with('.'), "{}", row.key);
                assert!(description.only.is_some() || !description.kind.is_empty(), "{}", row.key);
            }
            State::Ignored(text) | State::IgnoredWithWarning(text, _) | State::Refused(text) => {
                assert!(!text.is_empty() && !text.ends_with('.'), "{}", row.key);
                keys_exist(text);
            }
            State::Deprecated(other) => assert!(other.is_used(), "{}", row.key),
        }
        for text in [Some(row.meaning), row.default, row.differs].into_iter().flatten() {
            assert!(!text.contains(['|', '{', '\n']), "{}: {text}", row.key);
        }
    }
    for section in NOT_EMPTY {
        keys_exist(section.empty.unwrap());
        assert!(entries().any(|entry| section.holds(entry.row().key)), "{}", section.key);
    }
}

/// Keys in braces are those of settings.
fn keys_exist(text: &str) {
    for part in text.split('{').skip(1) {
        let (key, _) = part.split_once('}').expect(text);
        let used = |row: &crate::Row| row.key == key && row.is_used();
        assert!(entries().any(|entry| used(entry.row())), "{text}");
    }
}
