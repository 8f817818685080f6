//! The component's standard error, which the native host logs line by line.

/// The level of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Something failed: lines that begin with `error: `.
    Error,
    /// All lines without a prefix.
    Warning,
    /// Something was done: lines that begin with `info: `.
    Info,
    /// What helps to find a defect: lines that begin with `debug: `.
    Debug,
}

/// What lines of each level begin with.
const PREFIXES: [(&str, Level); 3] =
    [("error: ", Level::Error), ("info: ", Level::Info), ("debug: ", Level::Debug)];

/// Splits a line into its level and its text.
pub fn parse(line: &str) -> (Level, &str) {
    let found =
        PREFIXES.into_iter().find_map(|(prefix, level)| Some((level, line.strip_prefix(prefix)?)));
    found.unwrap_or((Level::Warning, line))
}

/// A line of this level.
pub fn line(level: Level, text: &str) -> String {
    let prefix = PREFIXES.into_iter().find(|(_, of)| *of == level);
    format!("{}{text}", prefix.map_or("", |(prefix, _)| prefix))
}

/// A line that reports an error.
pub fn error(text: &str) -> String {
    line(Level::Error, text)
}

#[cfg(test)]
mod tests {
    use super::{Level, error, line, parse};

    #[test]
    fn lines_have_levels() {
        assert_eq!(parse(&error("it failed")), (Level::Error, "it failed"));
        assert_eq!(parse("panicked at"), (Level::Warning, "panicked at"));
        for level in [Level::Error, Level::Warning, Level::Info, Level::Debug] {
            assert_eq!(parse(&line(level, "text: 1")), (level, "text: 1"));
        }
    }
}
