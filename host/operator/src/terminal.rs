//! Text for a terminal.

/// A text without what a terminal would interpret: it may come from a server.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
