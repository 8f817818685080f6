//! Settings as variables of the environment.

use super::written::{Form, Line, comment, on_one_line};
use super::{Report, Source, Value};
use crate::settings::Shape;

impl Report {
    /// The settings as variables, for a shell, a systemd unit's `EnvironmentFile` or a
    /// Compose file's `env_file`: those that differ from their defaults, or with `all` every one.
    /// Each has its source in a comment before it.
    pub fn variables(&self, all: bool) -> String {
        let mut text = String::new();
        for setting in &self.settings {
            let line = self.line(Form::Variables, setting, all);
            if line == Line::None {
                continue;
            }
            let name = setting.variable();
            if all {
                text.push_str(&comment(&setting.manual(), ""));
            }
            let mut write = |name: &str, value: &str, source: &str| match line {
                Line::Live => {
                    // What a comment before it says already.
                    if !(all && setting.source == Source::Default) {
                        text.extend(["# ", &on_one_line(source), "\n"]);
                    }
                    text.extend([name, "=", &quoted(value), "\n"]);
                }
                _ => text.extend(["#", name, "=", &quoted(value), "\n"]),
            };
            match &setting.value {
                Value::List(items) if line == Line::Live && setting.row.shape == Shape::EachMap => {
                    let lines: Vec<_> = items.iter().map(|(item, _)| item.as_str()).collect();
                    write(&name, &lines.join("\n"), &setting.origin());
                }
                Value::List(items) if line == Line::Live => {
                    for (index, (item, source)) in items.iter().enumerate() {
                        write(&format!("{name}_{index}"), item, &source.to_string());
                    }
                }
                _ => write(&name, &setting.shown(), &setting.origin()),
            }
            if all {
                text.push('\n');
            }
        }
        for remark in self.remarks(Form::Variables) {
            text.extend(["# ", &on_one_line(&remark), "\n"]);
        }
        text
    }
}

/// A value as a shell takes it, without quotes where it needs none.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:,@%+".contains(&byte);
    if value.bytes().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}
