//! What people are told of the settings, out of the table: `roadstead serve
//! --help`, `docs/configuration.md`, and the table of `docs/migrate.md`.

use crate::settings::{Entry, GROUPS, Scope, Shape, State, entries};
use crate::settings::{STORAGE_FILESYSTEM_ROOTDIRECTORY, variable};

/// The important settings, a line each, for `roadstead serve --help`. `root` is
/// the storage directory where nothing names another.
pub fn help(root: &str) -> String {
    let lines: Vec<_> = entries().filter_map(|entry| line(entry, root)).collect();
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines = lines.iter().map(|(name, text)| format!("  {name:width$}  {text}\n"));
    lines.collect()
}

fn line(entry: &dyn Entry, root: &str) -> Option<(String, String)> {
    let row = entry.row();
    let default = match entry.describe().default {
        _ if row.key == STORAGE_FILESYSTEM_ROOTDIRECTORY.row.key => Some(root.to_owned()),
        default => default,
    };
    let default = default.map(|value| format!(" [default: {value}]")).unwrap_or_default();
    row.help.map(|help| (row.variable(), format!("{help}{default}")))
}

/// The settings in Markdown, a table for each group.
pub fn settings() -> String {
    let mut text = String::new();
    for group in GROUPS.iter().filter(|group| !group.title.is_empty()) {
        text.extend(["\n### ", group.title, "\n\n"]);
        if !group.intro.is_empty() {
            text.extend([group.intro, "\n\n"]);
        }
        text.push_str("| Setting | Type | Default | Scope | Meaning |\n|---|---|---|---|---|\n");
        text.extend(group.rows.iter().filter_map(|entry| setting(*entry)));
    }
    text
}

fn setting(entry: &dyn Entry) -> Option<String> {
    let (row, description) = (entry.row(), entry.describe());
    if !row.is_used() || description.only.is_some() {
        return None;
    }
    let default = match (row.default, description.default) {
        (Some(text), _) => text.to_owned(),
        (None, Some(value)) => format!("`{value}`"),
        (None, None) => "none".to_owned(),
    };
    let scope = match row.scope {
        Scope::Host => "host",
        Scope::HostAndPresence => "host, presence",
        Scope::Component => "component",
        Scope::Both => "both",
    };
    Some(format!(
        "| `{}`<br>`{}` | {} | {default} | {scope} | {} |\n",
        row.key_of(None),
        row.variable(),
        description.kind,
        row.meaning
    ))
}

/// distribution's keys in Markdown, and what becomes of each.
pub fn distribution() -> String {
    let mut lines: Vec<_> = entries().filter_map(key).collect();
    lines.sort();
    let lines = lines.into_iter().map(|(keys, here, note)| {
        let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
        // What a user may have to act on stands out.
        let mark = if matches!(here.as_str(), "honoured" | "ignored") { "" } else { "**" };
        format!("| {} | {mark}{here}{mark} | {note} |\n", keys.join("<br>"))
    });
    "\n| distribution's key | Here | Note |\n|---|---|---|\n".to_owned()
        + &lines.collect::<String>()
}

/// Keys of distribution's that have the same fate, the fate, and more about it.
fn key(entry: &dyn Entry) -> Option<(Vec<String>, String, String)> {
    let (row, description) = (entry.row(), entry.describe());
    let below = description.names.iter().map(|name| format!("{}.{name}", row.key));
    let keys: Vec<_> = match (row.shape, description.names) {
        // Its items: the key has a row of its own.
        (Shape::Below, []) => return None,
        (_, []) => vec![row.key.to_owned()],
        (_, [_, ..]) => below.collect(),
    };
    let quoted = |text: &str| text.replace(['{', '}'], "`");
    let (here, note) = match (row.state, description.only) {
        _ if row.ours => return None,
        (State::Used, Some(value)) => (format!("only `{value}`"), row.meaning.to_owned()),
        (State::Used, None) => ("honoured".to_owned(), quoted(row.differs.unwrap_or_default())),
        (State::Ignored(reason), _) => ("ignored".to_owned(), quoted(reason)),
        (State::IgnoredWithWarning(reason, _), _) => {
            ("ignored, with a warning".to_owned(), quoted(reason))
        }
        (State::Deprecated(other), _) => (
            "ignored, with a warning".to_owned(),
            format!("deprecated; set `{}` (`{}`)", other.key, variable(other.key)),
        ),
        (State::Refused(instead), _) => ("refused".to_owned(), quoted(instead)),
    };
    Some((keys, here, note))
}
