//! Patterns of repositories, in the rules of access and of policies.

/// Which repositories: `*` stands for any part of a path component, `**` for
/// any number of whole components.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pattern(Vec<String>);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-*/".contains(&byte)
        };
        let components: Vec<_> = text.split('/').map(str::to_owned).collect();
        let valid = components.iter().all(|component| {
            !component.is_empty() && (component == "**" || !component.contains("**"))
        });
        if valid && text.bytes().all(plain) {
            Ok(Self(components))
        } else {
            Err(format!(
                "{text:?} is not a repository pattern, as in team/app, team/*, team/** or **"
            ))
        }
    }

    /// Whether it is `**`.
    pub(crate) fn fits_all(&self) -> bool {
        matches!(self.0.as_slice(), [part] if part == "**")
    }

    /// What the names of all repositories begin with that fit it.
    pub(crate) fn prefix(&self) -> String {
        let mut prefix = String::new();
        for part in &self.0 {
            let (plain, ends) =
                part.split_once('*').map_or((&**part, false), |(plain, _)| (plain, true));
            // `**` may be no component at all, and then there is no slash before it.
            if !prefix.is_empty() && !plain.is_empty() {
                prefix.push('/');
            }
            prefix.push_str(plain);
            if ends {
                break;
            }
        }
        prefix
    }

    /// Whether a repository's name fits it.
    pub(crate) fn fits(&self, repository: &str) -> bool {
        let components: Vec<&str> = repository.split('/').collect();
        // For each number of leading components: whether the pattern so far
        // matches them.
        let mut reached = vec![false; components.len() + 1];
        reached[0] = true;
        for part in &self.0 {
            let mut next = vec![false; components.len() + 1];
            for at in (0..=components.len()).filter(|&at| reached[at]) {
                if part == "**" {
                    next[at..].fill(true);
                } else if components.get(at).is_some_and(|component| like(part, component)) {
                    next[at + 1] = true;
                }
            }
            reached = next;
        }
        reached[components.len()]
    }
}

/// Whether text fits a pattern in which `*` stands for anything.
pub(crate) fn like(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').map_or(("", rest), |(middle, last)| (middle, last));
    for piece in middle.split('*') {
        // Taking the first match leaves the most text for the rest.
        match left.find(piece) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::{Pattern, like};

    #[test]
    fn stars() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*", "a", true),
            ("a*a", "a", false),
            ("*a*", "bab", true),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
            ("ab", "abc", false),
        ] {
            assert_eq!(like(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn what_names_begin_with() {
        for (pattern, prefix) in [
            ("**", ""),
            ("*/a", ""),
            ("team", "team"),
            ("team/**", "team"),
            ("team/*", "team"),
            ("team/a*/b", "team/a"),
            ("team/**/b", "team"),
            ("a/b/c", "a/b/c"),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().prefix(), prefix, "{pattern}");
        }
    }
}
