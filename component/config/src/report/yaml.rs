//! Settings as a `config.yml`.

use super::written::{Form, Line, comment, is_line_end, on_one_line};
use super::{Effective, Report, Value};
use crate::settings::{Shape, duration};
use std::fmt::Write as _;

/// What distribution wants a file to begin with.
const VERSION: &str = "version: 0.1\n";

/// Words that a parser of YAML 1.1 or 1.2 takes for something else than text.
const WORDS: [&str; 12] =
    ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity"];

impl Report {
    /// The settings as a file that is read again as the same ones, but for secrets: those that
    /// differ from their defaults, or with `all` every one, with its meaning and, where it has
    /// no value, as a comment. Each line has its source in a comment.
    pub fn yaml(&self, all: bool) -> String {
        let mut text = VERSION.to_owned();
        if self.has_masks() {
            text.push_str("# Secrets are masked: a file with these lines has to be completed.\n");
        }
        let mut root = Node::default();
        for setting in &self.settings {
            let line = self.line(Form::Keys, setting, all);
            if line != Line::None {
                let parts = setting.row.parts().map(|part| (part, None));
                let mut path: Vec<_> = parts.collect();
                if let Some((list, _)) = setting.row.split() {
                    path.insert(list.split('.').count(), (ITEM, setting.mapping));
                }
                root.insert(&path, (setting, line));
            }
        }
        let writer = Writer { all, text };
        let mut text = writer.write(&root);
        for remark in self.remarks(Form::Keys) {
            text.extend(["# ", &on_one_line(&remark), "\n"]);
        }
        text
    }
}

/// What stands in place of a key for an item of a list.
const ITEM: &str = "-";

/// A key, or [`ITEM`] with its number.
type Key = (&'static str, Option<u32>);

/// A key with those below it, in the order of the table.
#[derive(Default)]
struct Node<'a> {
    key: Key,
    setting: Option<(&'a Effective, Line)>,
    below: Vec<Self>,
}

impl<'a> Node<'a> {
    fn insert(&mut self, path: &[Key], setting: (&'a Effective, Line)) {
        let [key, path @ ..] = path else {
            self.setting = Some(setting);
            return;
        };
        let at = self.below.iter().position(|node| node.key == *key).unwrap_or_else(|| {
            self.below.push(Self { key: *key, ..Self::default() });
            self.below.len() - 1
        });
        self.below[at].insert(path, setting);
    }

    /// Whether something of it is in effect.
    fn is_live(&self) -> bool {
        self.setting.is_some_and(|(_, line)| line == Line::Live)
            || self.below.iter().any(Self::is_live)
    }
}

struct Writer {
    all: bool,
    text: String,
}

impl Writer {
    fn write(mut self, root: &Node<'_>) -> String {
        self.below(root, 0);
        self.text
    }

    fn node(&mut self, node: &Node<'_>, depth: usize) {
        let indentation = "  ".repeat(depth);
        let mark = if node.is_live() { "" } else { "#" };
        let (key, end) = (node.key.0, if node.key.0 == ITEM { "\n" } else { ":\n" });
        let leaf = node.setting.filter(|(_, line)| *line == Line::Live || node.below.is_empty());
        match leaf {
            Some((setting, line)) => self.setting(setting, line, key, &indentation),
            None => self.text.extend([indentation.as_str(), mark, key, end]),
        }
        self.below(node, depth + 1);
    }

    fn below(&mut self, node: &Node<'_>, depth: usize) {
        for (index, node) in node.below.iter().enumerate() {
            if self.all && (depth == 0 || index > 0) {
                self.text.push('\n');
            }
            self.node(node, depth);
        }
    }

    fn setting(&mut self, setting: &Effective, line: Line, key: &str, indentation: &str) {
        if self.all {
            self.text.push_str(&comment(&setting.manual(), indentation));
        }
        let origin = on_one_line(&setting.origin());
        match (&setting.value, line) {
            (Value::List(items), Line::Live) if setting.row.shape == Shape::EachMap => {
                self.text.extend([indentation, key, ":\n"]);
                let mut last = "";
                for (item, source) in items {
                    let (name, value) = item.split_once(": ").unwrap_or((item, ""));
                    if !name.eq_ignore_ascii_case(last) {
                        self.text.extend([indentation, "  ", &scalar(name), ":\n"]);
                    }
                    last = name;
                    let source = on_one_line(&source.to_string());
                    self.text.extend([
                        indentation,
                        "    - ",
                        &scalar(value),
                        "  # ",
                        &source,
                        "\n",
                    ]);
                }
            }
            (Value::List(items), Line::Live) => {
                self.text.extend([indentation, key, ":\n"]);
                for (item, source) in items {
                    let source = on_one_line(&source.to_string());
                    self.text.extend([indentation, "  - ", &scalar(item), "  # ", &source, "\n"]);
                }
            }
            (value, Line::Live) => {
                let value = scalar(&value.to_string());
                self.text.extend([indentation, key, ": ", &value, "  # ", &origin, "\n"]);
            }
            // A default only: what is given and has no effect is among the remarks.
            _ => {
                let default = setting.description.default.as_deref().map(scalar);
                let value = default.map(|value| format!(" {value}")).unwrap_or_default();
                self.text.extend([indentation, "#", key, ":", &value, "\n"]);
            }
        }
    }
}

/// A text as a scalar that every parser takes for this text, or for the number or the boolean
/// that it is.
fn scalar(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() || is_line_end(c) => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn is_plain(text: &str) -> bool {
    let is_number = || text.parse::<u64>().is_ok_and(|number| number.to_string() == text);
    let is_word = || {
        let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./+=".contains(&byte);
        // `https://` is no key, as no space follows.
        let inner = |(at, byte): (usize, u8)| {
            inner(byte)
                || byte == b':' && text.as_bytes().get(at + 1).is_some_and(|next| inner(*next))
        };
        let word = WORDS.iter().any(|word| word.eq_ignore_ascii_case(text));
        begins && !word && text.bytes().enumerate().all(inner)
    };
    let is_span = || text != "0" && duration(text).is_some() && !text.contains('.');
    matches!(text, "true" | "false") || is_number() || is_span() && text.is_ascii() || is_word()
}
