//! The htpasswd file: lines of `user:hash`, comments and empty lines, which
//! are preserved.

/// The largest file that is read, enough for some ten thousand users.
///
/// Limit: bytes of a file of users; test: none, it comes from the operator.
pub(super) const MAX_FILE: u64 = 1024 * 1024;

/// The text of a file in which each line is an entry, a comment or empty.
#[derive(Default, Debug)]
pub(super) struct Users {
    text: Vec<u8>,
}

impl Users {
    /// Checks a file's text; the error names the invalid line.
    pub(super) fn parse(text: Vec<u8>) -> Result<Self, String> {
        for (number, line) in lines(&text).enumerate() {
            let content = line.trim_ascii();
            if !content.is_empty() && !content.starts_with(b"#") && name(line).is_none() {
                return Err(format!("line {} is not user:hash", number + 1));
            }
        }
        Ok(Self { text })
    }

    /// The file's text.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The hash of a user; the first, if there are several, as registries do.
    pub(super) fn hash(&self, user: &str) -> Option<&str> {
        let line = lines(&self.text).find(|line| name(line) == Some(user.as_bytes()))?;
        let hash = line.trim_ascii().get(user.len() + 1..)?;
        str::from_utf8(hash).ok()
    }

    /// The number of entries of other users.
    pub(super) fn others(&self, user: &str) -> usize {
        lines(&self.text).filter_map(name).filter(|name| *name != user.as_bytes()).count()
    }

    /// Replaces the user's entry, or appends it; without an entry, removes the
    /// user's. Returns whether there was one.
    pub(super) fn set(&mut self, user: &str, entry: Option<&str>) -> bool {
        let mut text = Vec::with_capacity(self.text.len() + entry.map_or(0, str::len) + 1);
        let mut known = false;
        for line in lines(&self.text) {
            if name(line) == Some(user.as_bytes()) {
                if let (Some(entry), false) = (entry, known) {
                    text.extend_from_slice(entry.as_bytes());
                    text.push(b'\n');
                }
                known = true;
            } else {
                text.extend_from_slice(line);
            }
        }
        if let (Some(entry), false) = (entry, known) {
            if !text.is_empty() && !text.ends_with(b"\n") {
                text.push(b'\n');
            }
            text.extend_from_slice(entry.as_bytes());
            text.push(b'\n');
        }
        self.text = text;
        known
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

/// The user of a line, if it is an entry.
fn name(line: &[u8]) -> Option<&[u8]> {
    let line = line.trim_ascii();
    let colon = line.iter().position(|byte| *byte == b':')?;
    (!line.starts_with(b"#")).then(|| &line[..colon])
}

#[cfg(test)]
mod tests {
    use super::Users;

    fn after(text: &str, user: &str, entry: Option<&str>) -> (String, bool) {
        let mut users = Users::parse(text.into()).unwrap();
        let known = users.set(user, entry);
        (String::from_utf8(users.text().to_vec()).unwrap(), known)
    }

    #[test]
    fn other_lines_stay() {
        let text = "# users\r\n\na:1\nb:2";
        for (user, entry, expected, known) in [
            ("c", Some("c:3"), "# users\r\n\na:1\nb:2\nc:3\n", false),
            ("a", Some("a:9"), "# users\r\n\na:9\nb:2", true),
            ("b", Some("b:9"), "# users\r\n\na:1\nb:9\n", true),
            ("a", None, "# users\r\n\nb:2", true),
            ("#a", None, text, false),
        ] {
            assert_eq!(after(text, user, entry), (expected.to_owned(), known), "{user}");
        }
        assert_eq!(after("", "a", Some("a:1")).0, "a:1\n");
        assert_eq!(after("a:1\nb:2\na:3\n", "a", Some("a:4")).0, "a:4\nb:2\n");
    }

    #[test]
    fn invalid_lines_are_named() {
        let problem = Users::parse(b"a:1\nnonsense\n".to_vec()).unwrap_err();
        assert_eq!(problem, "line 2 is not user:hash");
    }

    #[test]
    fn hashes_are_found() {
        let users = Users::parse(b"#a:0\n a:1 \r\nb:2:3\na:4".to_vec()).unwrap();
        assert_eq!(users.hash("a"), Some("1"));
        assert_eq!(users.hash("b"), Some("2:3"));
        assert_eq!(users.hash("c"), None);
        assert_eq!(users.others("a"), 1);
    }
}
