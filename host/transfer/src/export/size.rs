//! Sizes as people write them: `4.7GB`, `700MiB`, `1048576`.

/// The units.
const UNITS: [(&str, u64); 10] = [
    ("KIB", 1 << 10),
    ("MIB", 1 << 20),
    ("GIB", 1 << 30),
    ("TIB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
    ("", 1),
];

/// The most digits after the point.
///
/// Limit: digits after the point of a size; test: `sizes_are_read`.
const DIGITS: usize = 6;

/// Parses a size in bytes, which is rounded down.
///
/// # Errors
/// When it is none.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: write it as 4.7GB, 700MiB or 1048576");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_uppercase();
    let unit = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if part.len() > DIGITS {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let part = if part.is_empty() {
        0
    } else {
        let digits: u64 = part.parse().map_err(|_| wrong())?;
        let of = 10u64.pow(u32::try_from(part.len()).map_err(|_| wrong())?);
        u64::try_from(u128::from(digits) * u128::from(unit) / u128::from(of))
            .map_err(|_| wrong())?
    };
    whole.checked_mul(unit).and_then(|whole| whole.checked_add(part)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_are_read() {
        for (text, expected) in [
            ("4.7GB", Some(4_700_000_000)),
            ("700MiB", Some(700 << 20)),
            ("1 gib", Some(1 << 30)),
            ("0.5kib", Some(512)),
            ("1048576", Some(1 << 20)),
            ("12B", Some(12)),
            ("", None),
            ("GB", None),
            ("1.", Some(1)),
            (".5GB", None),
            ("1.2.3GB", None),
            ("-1", None),
            ("1XB", None),
            ("1.0000001TB", None),
            ("99999999999TB", None),
        ] {
            assert_eq!(parse(text).ok(), expected, "{text}");
        }
    }
}
