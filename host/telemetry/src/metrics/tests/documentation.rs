//! `docs/metrics.md` is what the table says.

use crate::metrics::{
    Action, Cached, CollectionOutcome, CollectionStage, Direction, GROUPS, Handler, InstanceEnd,
    Login, Method, Refused, StorageFailure, StorageOperation,
};
use std::fmt::Write as _;
use std::path::Path;

/// The variable that has the documentation written, and not compared.
const BLESS: &str = "ROADSTEAD_BLESS";

const BEGIN: &str = "<!-- metrics: begin -->\n";
const END: &str = "<!-- metrics: end -->\n";

#[test]
fn the_table_of_metrics_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let found = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = found.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{BEGIN}{}{}{END}{after}", tables(), values());
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&file, expected).unwrap();
        return;
    }
    let differ = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(
        found == expected,
        "{} is stale, write it by {BLESS}=1 cargo test -p roadstead-telemetry: {differ:?}",
        file.display()
    );
}

fn tables() -> String {
    let mut text = String::new();
    for group in GROUPS {
        let _ = write!(text, "\n### {}\n\n", group.title);
        text.push_str("| Name | Type | Labels | Meaning |\n|---|---|---|---|\n");
        for family in group.families {
            let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
            let (name, kind) = (family.name, family.kind.as_str());
            let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {} |", family.help);
        }
    }
    text
}

fn values() -> String {
    let mut text = "\n### Values of labels\n\n| Label | Values |\n|---|---|\n".to_owned();
    let mut row = |label: &str, values: Vec<&str>| {
        let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
        let _ = writeln!(text, "| {label} | {} |", values.join(", "));
    };
    row("`handler`", Handler::ALL.iter().map(|it| it.as_str()).collect());
    row("`method`", Method::ALL.iter().map(|it| it.as_str()).collect());
    row("`action`", Action::ALL.iter().map(|it| it.as_str()).collect());
    row("`operation`", StorageOperation::ALL.iter().map(|it| it.as_str()).collect());
    row("`class`", StorageFailure::ALL.iter().map(|it| it.as_str()).collect());
    row("`direction`", Direction::ALL.iter().map(|it| it.as_str()).collect());
    row("`result`", Cached::ALL.iter().map(|it| it.as_str()).collect());
    row("`cause`, of instances", InstanceEnd::ALL.iter().map(|it| it.as_str()).collect());
    row("`cause`, of what is refused", Refused::ALL.iter().map(|it| it.as_str()).collect());
    row("`outcome`, of logins", Login::ALL.iter().map(|it| it.as_str()).collect());
    row("`outcome`, of collection", CollectionOutcome::ALL.iter().map(|it| it.as_str()).collect());
    row("`stage`", CollectionStage::ALL.iter().map(|it| it.as_str()).collect());
    text
}
