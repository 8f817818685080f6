//! Ranges and page sizes with random input.

use std::ops::Range;

use super::super::{ByteRange, ContentRange, PageSize};
use super::random::{ROUNDS, Random};
use super::spec_regexp::SpecRegexp;

#[test]
fn byte_ranges_resolve_like_a_search() {
    let pieces = ["0", "1", "3", "7", "-", "99999999999999999999", ",", " "];
    let valid = SpecRegexp::new("[0-9]+-[0-9]*|-[0-9]+");
    let mut random = Random::new();
    let mut satisfied = 0;
    for _ in 0..ROUNDS {
        let text = random.text(&pieces, 4).trim().to_owned();
        let range = ByteRange::parse(&format!("bytes={text}"));
        assert_eq!(range.is_some(), valid.matches(&text), "{text:?}");
        let Some(range) = range else { continue };
        assert_eq!(ByteRange::parse(&range.to_string()), Some(range), "{text:?}");
        let size = u64::try_from(random.below(12)).unwrap_or(0);
        let found = range.resolve(size);
        assert_eq!(found, search(&text, size), "{text:?} of {size}");
        satisfied += usize::from(found.is_some());
    }
    assert!(satisfied > ROUNDS / 50, "{satisfied}");
}

/// The positions below `size` that are in a range, one by one.
fn search(text: &str, size: u64) -> Option<Range<u64>> {
    let number = |text: &str| {
        let number = text.parse().unwrap_or(u128::MAX);
        (!text.is_empty()).then_some(number)
    };
    let (first, last) = text.split_once('-')?;
    let inside = |position: &u64| {
        let position = u128::from(*position);
        match (number(first), number(last)) {
            (None, Some(suffix)) => position.saturating_add(suffix) >= u128::from(size),
            (first, last) => {
                first.is_none_or(|f| f <= position) && last.is_none_or(|l| position <= l)
            }
        }
    };
    let start = (0..size).find(inside)?;
    Some(start..(0..size).rfind(inside)? + 1)
}

#[test]
fn content_ranges_and_page_sizes_round_trip() {
    let huge = "18446744073709551615";
    let heads = ["", "", "bytes ", "bytes=", " ", "bytes"];
    let pieces = ["0", "5", "9", "-", "-", "/", "*", huge];
    let forms = SpecRegexp::new(r"(bytes[ =])?[0-9]+-[0-9]+|bytes [0-9]+-[0-9]+/([0-9]+|\*)");
    let mut random = Random::new();
    let mut accepted = 0;
    for _ in 0..ROUNDS {
        let text = random.one_of(&heads).to_owned() + &random.text(&pieces, 6);
        let range = ContentRange::parse(&text);
        let expected = forms.matches(text.trim()) && is_ordered(&text);
        assert_eq!(range.is_ok(), expected, "{text:?}");
        if let Ok(range) = range {
            assert_eq!(ContentRange::parse(&range.to_string()), Ok(range));
            accepted += 1;
        }
        let size = PageSize::parse(Some(&text)).ok().map(PageSize::get);
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let clipped = text.parse().unwrap_or(usize::MAX).min(10_000);
        assert_eq!(size, digits.then_some(clipped), "{text:?}");
    }
    assert!(accepted > ROUNDS / 200, "{accepted}");
}

/// Whether the numbers in a content range are small enough, the first is not
/// above the second, and the second is below the third if there is one.
fn is_ordered(text: &str) -> bool {
    let numbers: Vec<u64> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|number| !number.is_empty())
        .map(|number| number.parse().unwrap_or(u64::MAX))
        .collect();
    let fits = numbers.iter().all(|number| *number < u64::MAX);
    fits && match *numbers {
        [first, last] => first <= last,
        [first, last, total] => first <= last && last < total,
        _ => false,
    }
}
