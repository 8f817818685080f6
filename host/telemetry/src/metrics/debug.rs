//! The other answers of the debug address: `/debug/health`, as distribution's `health` package
//! has it.

use std::collections::BTreeMap;

/// The media type of [`Health::body`] and of [`debug_vars`](super::Metrics::debug_vars).
pub const JSON: &str = "application/json";

/// The answer of `/debug/health`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// 200, or 503 if a check fails.
    pub status: u16,
    /// A JSON object: why each failing check fails, by its name.
    pub body: Vec<u8>,
}

/// What `/debug/health` says where these checks fail: their names, and why.
pub fn health<'a>(failing: impl IntoIterator<Item = (&'a str, &'a str)>) -> Health {
    let failing: BTreeMap<&str, &str> = failing.into_iter().collect();
    let status = if failing.is_empty() { 200 } else { 503 };
    let body = serde_json::to_vec(&failing).unwrap_or_default();
    Health { status, body }
}

#[cfg(test)]
mod tests {
    use super::{Health, health};

    #[test]
    fn health_is_that_of_distribution() {
        let ok = Health { status: 200, body: b"{}".to_vec() };
        assert_eq!(health([]), ok);
        let failing = health([("storage", "the \"disk\" is full"), ("a", "b")]);
        assert_eq!(failing.status, 503);
        let body = r#"{"a":"b","storage":"the \"disk\" is full"}"#;
        assert_eq!(String::from_utf8(failing.body).unwrap(), body);
    }
}
