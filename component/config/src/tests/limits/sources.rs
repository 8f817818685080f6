//! Constants and tests in the workspace's sources.

use super::value::{self, Value};
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

/// Where there may be limits.
const CODE: [&str; 2] = ["component", "host"];

/// Where there may be tests.
const TESTS: [&str; 3] = ["component", "host", "tests"];

/// Words in the names of limits.
const NAMES: [&str; 14] = [
    "LIMIT",
    "MAX",
    "TIMEOUT",
    "_TIME",
    "PAUSE",
    "EXPIRY",
    "ATTEMPTS",
    "RETRIES",
    "LONGEST",
    "LARGEST",
    "CONCURRENT",
    "GRACE",
    "ENTRIES",
    "RESERVE",
];

/// How what limits do is begun to be said.
const BEGINNINGS: [&str; 10] = [
    "Longest ",
    "The longest ",
    "Largest ",
    "The largest ",
    "Most ",
    "The most ",
    "Maximum ",
    "The maximum ",
    "How long ",
    "How many ",
];

/// A constant, and where it is.
#[derive(Debug)]
pub(super) struct Constant {
    /// Relative to the workspace.
    pub(super) file: String,
    pub(super) name: String,
    kind: String,
    expression: String,
    documentation: Vec<String>,
}

impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.name)
    }
}

/// What a constant's documentation says of it as a limit.
#[derive(Debug, Default)]
pub(super) struct Limit {
    pub(super) what: String,
    pub(super) tests: Vec<String>,
    /// Why no test reaches it.
    pub(super) untested: Option<String>,
    pub(super) settings: Vec<String>,
}

impl Constant {
    /// The last paragraph of its documentation, if that begins with `Limit:`.
    pub(super) fn limit(&self) -> Option<Limit> {
        let start = self.documentation.iter().position(|line| line.starts_with("Limit: "))?;
        let text = self.documentation[start..].join(" ");
        let mut parts = text.trim_end_matches('.').strip_prefix("Limit: ")?.split("; ");
        let mut limit = Limit { what: parts.next()?.trim().to_owned(), ..Limit::default() };
        let names = |text: &str| -> Vec<String> {
            text.split(", ").map(|name| name.trim_matches([' ', '`']).to_owned()).collect()
        };
        for part in parts {
            if let Some(reason) = part.strip_prefix("test: none") {
                limit.untested = Some(reason.to_owned());
            } else if let Some(tests) = part.strip_prefix("test: ") {
                limit.tests = names(tests);
            } else if let Some(settings) = part.strip_prefix("setting: ") {
                limit.settings = names(settings);
            } else {
                panic!("{self}: {part:?} is neither a test nor a setting");
            }
        }
        Some(limit)
    }

    /// Whether its name, type or documentation is that of a limit.
    pub(super) fn looks_like_a_limit(&self) -> bool {
        let documentation = self.documentation.first().map(String::as_str).unwrap_or_default();
        let number = ["usize", "u64", "u32", "u16", "u8", "i64"].contains(&self.kind.as_str());
        let named = NAMES.iter().any(|word| self.name.contains(word));
        let said = BEGINNINGS.iter().any(|beginning| documentation.starts_with(beginning));
        // Another name for a limit that is elsewhere.
        let alias = self.expression.chars().all(|c| c == '_' || c == ':' || c.is_alphanumeric())
            && !self.expression.starts_with(|c: char| c.is_ascii_digit());
        self.kind.ends_with("Duration") || (number && (named || said) && !alias)
    }
}

#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) constants: Vec<Constant>,
    /// The names of all tests.
    pub(super) tests: BTreeSet<String>,
}

impl Sources {
    pub(super) fn read(root: &Path) -> Self {
        let mut sources = Self::default();
        for directory in CODE {
            sources.visit(root, Path::new(directory), &mut |sources, file, text| {
                let tests = file.ends_with("tests.rs") || file.contains("/tests/");
                if file.contains("/src/") && !tests {
                    sources.read_constants(file, text);
                }
            });
        }
        for directory in TESTS {
            sources.visit(root, Path::new(directory), &mut |sources, _, text| {
                sources.read_tests(text);
            });
        }
        sources
    }

    fn visit(
        &mut self,
        root: &Path,
        directory: &Path,
        read: &mut impl FnMut(&mut Self, &str, &str),
    ) {
        let mut entries: Vec<_> =
            fs::read_dir(root.join(directory)).unwrap().map(|entry| entry.unwrap()).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = directory.join(entry.file_name());
            let file = path.to_str().unwrap().replace('\\', "/");
            if entry.file_type().unwrap().is_dir() {
                // The target directory of a crate that is not in the workspace.
                if entry.file_name() != "target" {
                    self.visit(root, &path, read);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                read(self, &file, &fs::read_to_string(root.join(&path)).unwrap());
            }
        }
    }

    /// The constants before a file's tests.
    fn read_constants(&mut self, file: &str, text: &str) {
        let mut documentation = Vec::new();
        let mut lines = text.lines().map(str::trim).peekable();
        while let Some(line) = lines.next() {
            let next = lines.peek().copied().unwrap_or_default();
            if line == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{') {
                return;
            }
            if let Some(said) = line.strip_prefix("///") {
                documentation.push(said.trim().to_owned());
            } else if let Some((name, rest)) = declared(line) {
                let mut declaration = rest.to_owned();
                while !declaration.ends_with(';') {
                    let Some(line) = lines.next() else { break };
                    declaration.push(' ');
                    declaration.push_str(line);
                }
                if let Some((kind, expression)) = declaration.split_once(" = ") {
                    self.constants.push(Constant {
                        file: file.to_owned(),
                        name: name.to_owned(),
                        kind: kind.trim().to_owned(),
                        expression: expression.trim_end_matches(';').trim().to_owned(),
                        documentation: std::mem::take(&mut documentation),
                    });
                }
            } else if !line.starts_with("#[") {
                documentation.clear();
            }
        }
    }

    fn read_tests(&mut self, text: &str) {
        let mut marked = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                marked = true;
            } else if let Some((_, after)) = line.split_once("fn ") {
                // A table of requests is a test of every form of the registry.
                if std::mem::take(&mut marked) || after.contains("-> Table") {
                    let name = after.split('(').next().unwrap_or_default();
                    self.tests.insert(name.to_owned());
                }
            } else if !line.starts_with("#[") && !line.starts_with("//") {
                marked = false;
            }
        }
    }

    /// A limit's value, as text; its expression where that is not simple.
    pub(super) fn show(&self, constant: &Constant, limit: &Limit) -> String {
        match self.value(constant, 0) {
            Some(value) => value.show(&limit.what),
            None => format!("`{}`", constant.expression),
        }
    }

    fn value(&self, constant: &Constant, depth: usize) -> Option<Value> {
        // More than any constant needs.
        if depth > 8 {
            return None;
        }
        value::evaluate(&constant.expression, &|path| {
            self.value(self.find(constant, path)?, depth + 1)
        })
    }

    /// The constant that a path in another's expression names: in the same file,
    /// in the module of the path, or the only one of its name.
    fn find(&self, from: &Constant, path: &str) -> Option<&Constant> {
        let mut parts = path.rsplit("::");
        let name = parts.next()?;
        let of_name: Vec<_> = self
            .constants
            .iter()
            .filter(|other| other.name == name && !std::ptr::eq(*other, from))
            .collect();
        let module = parts.next().filter(|module| !["crate", "self", "super"].contains(module));
        let crate_of = |file: &str| file.split("/src/").next().map(ToOwned::to_owned);
        let in_module = |other: &&&Constant| {
            module.is_some_and(|module| {
                other.file.ends_with(&format!("/{module}.rs"))
                    || other.file.contains(&format!("/{module}/"))
            })
        };
        let same_file = |other: &&&Constant| module.is_none() && other.file == from.file;
        let same_crate = |other: &&&Constant| crate_of(&other.file) == crate_of(&from.file);
        let only = |matches: &dyn Fn(&&&Constant) -> bool| {
            let mut found = of_name.iter().filter(|other| matches(other));
            found.next().filter(|_| found.next().is_none()).copied()
        };
        only(&in_module)
            .or_else(|| only(&same_file))
            .or_else(|| only(&same_crate))
            .or_else(|| only(&|_| true))
    }
}

/// The name of a constant that a line declares, and what follows it.
fn declared(line: &str) -> Option<(&str, &str)> {
    let line = match line.strip_prefix("pub") {
        Some(rest) => match rest.strip_prefix('(') {
            Some(rest) => rest.split_once(')')?.1.trim_start(),
            None => rest.trim_start(),
        },
        None => line,
    };
    let (name, rest) = line.strip_prefix("const ")?.split_once(':')?;
    let upper = |c: char| c == '_' || c.is_ascii_uppercase() || c.is_ascii_digit();
    (!name.is_empty() && name.chars().all(upper)).then(|| (name, rest.trim()))
}
