//! One line for each event: what a store or an operating system says may have several.

use std::borrow::Cow;

/// An event's line, which ends with a line break, without any other: as `\n`.
pub(super) fn of(event: &[u8]) -> Cow<'_, [u8]> {
    let (text, end) = match event {
        [text @ .., b'\n'] => (text, &b"\n"[..]),
        text => (text, &b""[..]),
    };
    if !text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Cow::Borrowed(event);
    }
    let mut line = Vec::with_capacity(event.len());
    for byte in text {
        match byte {
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            byte => line.push(*byte),
        }
    }
    line.extend_from_slice(end);
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn events_are_one_line() {
        for (event, line) in [
            ("plain\n", "plain\n"),
            (
                "<Error>\n  <Code>A</Code>\r\n</Error>\n",
                "<Error>\\n  <Code>A</Code>\\r\\n</Error>\n",
            ),
            ("no end", "no end"),
            ("\n\n", "\\n\n"),
            ("", ""),
        ] {
            assert_eq!(of(event.as_bytes()), line.as_bytes(), "{event:?}");
        }
    }
}
