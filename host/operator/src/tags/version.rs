//! The order of tags that are versions.

use std::cmp::Ordering;

/// Compares two tags as versions: numbers in them as numbers, and what follows the first hyphen, as
/// in `2.0-rc1`, after all before it. A version comes after those that have such an addition, as
/// in Semantic Versioning. Others are compared by their characters.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let ((main_a, added_a), (main_b, added_b)) = (halves(a), halves(b));
    parts(main_a, main_b)
        .then_with(|| match (added_a, added_b) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => parts(a, b),
        })
        // The order is the same, whichever comes first.
        .then_with(|| a.cmp(b))
}

/// A version without the `v` before it, and its addition.
fn halves(tag: &str) -> (&str, Option<&str>) {
    let number = |rest: &&str| rest.starts_with(|c: char| c.is_ascii_digit());
    let tag = tag.strip_prefix('v').filter(number).unwrap_or(tag);
    tag.split_once('-').map_or((tag, None), |(main, added)| (main, Some(added)))
}

/// Compares texts, of which runs of digits are numbers of any length.
fn parts(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() && !b.is_empty() {
        let ((run_a, rest_a), (run_b, rest_b)) = (run(a), run(b));
        let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let order = if digits(run_a) && digits(run_b) {
            let [a, b] = [run_a, run_b].map(|run| run.trim_start_matches('0'));
            a.len().cmp(&b.len()).then_with(|| a.cmp(b))
        } else {
            run_a.cmp(run_b)
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    a.len().cmp(&b.len())
}

/// The digits at the start of a text, or what comes before its first digit; and the rest.
fn run(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::compare;

    #[test]
    fn numbers_count_as_numbers() {
        let sorted = [
            "0.9",
            "v1.2.0-alpha",
            "v1.2.0-rc.2",
            "v1.2.0-rc.10",
            "v1.2.0",
            "1.2.3",
            "v1.9",
            "1.10",
            "2",
            "2.0",
            "10.0",
            "99999999999999999999999",
            "100000000000000000000000",
            "edge",
            "latest",
        ];
        for seed in 0..sorted.len() {
            let mut tags = sorted.to_vec();
            tags.rotate_left(seed);
            tags.sort_by(|a, b| compare(a, b));
            assert_eq!(tags, sorted);
        }
    }
}
