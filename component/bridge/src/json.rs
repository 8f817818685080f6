//! Messages as JSON in a header.

use serde::Serialize;

/// A message as JSON that a header can hold: JSON escapes all control
/// characters but DEL, which a header value must not contain.
pub fn header_json(message: &impl Serialize) -> Vec<u8> {
    const DEL: u8 = 0x7f;
    // No message fails to serialise: keys are text, and numbers are finite.
    let json = serde_json::to_vec(message).unwrap_or_default();
    if !json.contains(&DEL) {
        return json;
    }
    let escape = |byte: &u8| if *byte == DEL { b"\\u007f".to_vec() } else { vec![*byte] };
    json.iter().flat_map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::header_json;

    #[test]
    fn any_text_fits_into_a_header() {
        for text in ["plain", "a\u{7f}b\u{7f}", "\u{0}\r\n\"\\", "\u{e9}\u{1f600}"] {
            let json = header_json(&text);
            assert!(http::HeaderValue::from_bytes(&json).is_ok(), "{text:?}");
            assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
        }
    }
}
