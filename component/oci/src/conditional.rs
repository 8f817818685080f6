//! Conditional requests (RFC 9110, section 13), of content that has a strong
//! entity tag without commas, and no modification date.

/// Whether a client with this `If-None-Match` has the content already, so that
/// a read is answered with 304 (section 13.1.2; weak comparison).
pub fn if_none_match(header: &str, etag: &str) -> bool {
    let mut tags = header.split(',').map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Whether the `Range` of a request with this `If-Range` applies (section
/// 13.1.5; strong comparison). By a date it never does: the content has none.
pub fn if_range(header: &str, etag: &str) -> bool {
    header.trim() == etag
}

#[cfg(test)]
mod tests {
    use super::{if_none_match, if_range};

    #[test]
    fn entity_tags() {
        for (header, none_match, range) in [
            (r#""a""#, true, true),
            (r#" "a" "#, true, true),
            (r#"W/"a""#, true, false),
            (r#""b", "a""#, true, false),
            (r#""b",W/"a","c""#, true, false),
            ("*", true, false),
            (r#""b""#, false, false),
            (r#"w/"a""#, false, false),
            ("a", false, false),
            (r#""A""#, false, false),
            ("", false, false),
            ("Sat, 29 Oct 1994 19:43:31 GMT", false, false),
        ] {
            assert_eq!(if_none_match(header, r#""a""#), none_match, "{header}");
            assert_eq!(if_range(header, r#""a""#), range, "{header}");
        }
    }
}
