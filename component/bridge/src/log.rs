//! The component's standard error, which the native host logs line by line.

/// The level of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Something failed: lines that begin with `error: `.
    Error,
    /// All other lines.
    Warning,
}

/// What an error's line begins with.
const ERROR: &str = "error: ";

/// Splits a line into its level and its text.
pub fn parse(line: &str) -> (Level, &str) {
    match line.strip_prefix(ERROR) {
        Some(text) => (Level::Error, text),
        None => (Level::Warning, line),
    }
}

/// A line that reports an error.
pub fn error(text: &str) -> String {
    format!("{ERROR}{text}")
}

#[cfg(test)]
mod tests {
    use super::{Level, error, parse};

    #[test]
    fn lines_have_levels() {
        assert_eq!(parse(&error("it failed")), (Level::Error, "it failed"));
        assert_eq!(parse("panicked at"), (Level::Warning, "panicked at"));
    }
}
