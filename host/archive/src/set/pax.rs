//! Extended headers of PAX: records `<length> <key>=<value>\n`.

/// What an extended header says of the entry after it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// Whether the entry is sparse.
    pub(super) sparse: bool,
}

impl Pax {
    /// Whether it says nothing that matters.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Parses records. A value may have any byte in it, line breaks included: only the
    /// length says where it ends.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut pax = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (record, after) = split(rest).ok_or("has a damaged PAX header")?;
            rest = after;
            let (key, value) = split_at(record, b'=').ok_or("has a damaged PAX header")?;
            match key {
                b"path" => set(&mut pax.path, value.to_vec())?,
                b"linkpath" => set(&mut pax.link, value.to_vec())?,
                b"size" => set(&mut pax.size, decimal(value).ok_or("has a damaged size")?)?,
                _ if key.starts_with(b"GNU.sparse.") => pax.sparse = true,
                _ => {}
            }
        }
        Ok(pax)
    }
}

/// Programs disagree about which of two values counts.
fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), &'static str> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err("has a PAX header that says the same twice"),
    }
}

/// The content of the first record, and the records after it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (digits, content) = split_at(bytes, b' ')?;
    let length = usize::try_from(decimal(digits)?).ok()?;
    // The length counts itself, the space and the line break.
    let length = length.checked_sub(digits.len() + 1)?;
    let (record, rest) = content.split_at_checked(length)?;
    Some((record.strip_suffix(b"\n")?, rest))
}

fn split_at(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Pax;

    #[test]
    fn records_are_taken_by_their_length() {
        let path = |text: &str| Pax { path: Some(text.into()), ..Pax::default() };
        for (text, expected) in [
            ("", Ok(Pax::default())),
            ("9 path=a\n", Ok(path("a"))),
            ("13 path=a\nbc\n", Ok(path("a\nbc"))),
            ("13 comment=x\n9 path=a\n", Ok(path("a"))),
            ("10 size=12\n", Err("has a damaged PAX header")),
            ("11 size=12\n", Ok(Pax { size: Some(12), ..Pax::default() })),
            ("11 size=+1\n", Err("has a damaged size")),
            ("28 size=99999999999999999999\n", Err("has a damaged PAX header")),
            ("29 size=99999999999999999999\n", Err("has a damaged size")),
            ("22 GNU.sparse.major=1\n", Ok(Pax { sparse: true, ..Pax::default() })),
            ("9 path=a\n9 path=b\n", Err("has a PAX header that says the same twice")),
            ("8 path=a\n", Err("has a damaged PAX header")),
            ("11 path=a\n", Err("has a damaged PAX header")),
            ("9 path=a", Err("has a damaged PAX header")),
            ("9 path:a\n", Err("has a damaged PAX header")),
            ("1 path=a\n", Err("has a damaged PAX header")),
            ("99999999999999999999999 path=a\n", Err("has a damaged PAX header")),
            ("\n9 path=a\n", Err("has a damaged PAX header")),
        ] {
            assert_eq!(Pax::parse(text.as_bytes()), expected, "{text:?}");
        }
    }
}
