//! W3C Trace Context: how a trace crosses processes
//! (<https://www.w3.org/TR/trace-context/>).

use http::HeaderValue;

/// The length of a `traceparent` of version 00, in bytes.
const LENGTH: usize = 55;

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 0x01;

/// The flag of a trace whose identifier is random (level 2 of the specification).
const RANDOM: u8 = 0x02;

/// The longest `tracestate` that is passed on, in bytes: what the specification asks for
/// at least. A longer one is dropped.
///
/// Limit: bytes of a `tracestate` that is passed on; test: `what_is_no_state`.
const STATE_LIMIT: usize = 512;

/// The most members of a `tracestate`; one with more is dropped.
///
/// Limit: members of a `tracestate`; test: `what_is_no_state`.
const MEMBERS_LIMIT: usize = 32;

/// What is between the two parts of [`Context::to_header`].
const SEPARATOR: u8 = b';';

/// The identifier of a trace: not all zero.
pub(crate) type TraceId = [u8; 16];

/// The identifier of a span: not all zero.
pub(crate) type SpanId = [u8; 8];

/// A `traceparent`, which is valid: its digits are looked at, and become numbers only for
/// spans that are recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Parent<'a> {
    /// Lower-case hexadecimal digits, not all zero.
    trace: &'a [u8; 32],
    span: &'a [u8; 16],
    flags: u8,
}

impl<'a> Parent<'a> {
    /// Parses a `traceparent`. A later version than 00 may have more after a further `-`,
    /// which is ignored, as the specification asks for.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let (known, rest) = text.split_at_checked(LENGTH)?;
        let ([b0, b1, b'-', known @ ..], [.., b'-', b2, b3]) = (known, known) else { return None };
        let version = byte([*b0, *b1])?;
        let complete = match version {
            0x00 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest[0] == b'-',
        };
        let (trace, known) = known.split_first_chunk()?;
        let (span, _) = known.strip_prefix(b"-")?.split_first_chunk()?;
        let valid = complete && is_identifier(trace) && is_identifier(span);
        let flags = byte([*b2, *b3])?;
        valid.then_some(Self { trace, span, flags })
    }

    /// Whether whoever sent it records the trace.
    pub(crate) fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    pub(crate) fn trace(&self) -> TraceId {
        let mut id = [0; 16];
        decode(self.trace, &mut id);
        id
    }

    pub(crate) fn span(&self) -> SpanId {
        let mut id = [0; 8];
        decode(self.span, &mut id);
        id
    }

    /// The lower half of the trace's identifier.
    pub(crate) fn low(&self) -> u64 {
        let mut low = [0; 8];
        decode(&self.trace[16..], &mut low);
        u64::from_be_bytes(low)
    }
}

/// A span, and the trace that it belongs to, as other processes are told of it. The trace is
/// sampled: nothing is said of others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Context {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    /// Whether the trace's identifier is known to be random.
    random: bool,
    state: Option<HeaderValue>,
}

impl Context {
    /// The first span of a trace whose identifier is not random throughout.
    pub(crate) fn root(trace: TraceId, span: SpanId) -> Self {
        Self { trace, span, random: true, state: None }
    }

    /// A span below `parent`, whose `tracestate` is passed on if it is valid.
    pub(crate) fn below(parent: &Parent<'_>, tracestate: Option<&[u8]>, span: SpanId) -> Self {
        let random = parent.flags & RANDOM != 0;
        Self { trace: parent.trace(), span, random, state: tracestate.and_then(state) }
    }

    /// Another span of the trace.
    pub(crate) fn with_span(&self, span: SpanId) -> Self {
        Self { span, ..self.clone() }
    }

    pub(crate) fn flags(&self) -> u8 {
        SAMPLED | if self.random { RANDOM } else { 0 }
    }

    /// The value of the header `traceparent` for a request that this span sends.
    pub fn traceparent(&self) -> HeaderValue {
        header(&self.text())
    }

    /// The value of the header `tracestate` for such a request.
    pub fn tracestate(&self) -> Option<HeaderValue> {
        self.state.clone()
    }

    /// Both in one value, by which the component says on whose behalf it asks for
    /// something; see [`crate::Traces::join`].
    pub fn to_header(&self) -> HeaderValue {
        let mut text = self.text();
        if let Some(state) = &self.state {
            text.push(SEPARATOR);
            text.extend_from_slice(state.as_bytes());
        }
        header(&text)
    }

    /// Parses what [`Self::to_header`] has written.
    pub(crate) fn from_header(value: &[u8]) -> Option<Self> {
        let mut parts = value.splitn(2, |&byte| byte == SEPARATOR);
        let parent = Parent::parse(parts.next()?)?;
        parent.is_sampled().then(|| Self::below(&parent, parts.next(), parent.span()))
    }

    /// `tracestate`, as spans have it.
    pub(crate) fn state(&self) -> Option<&[u8]> {
        self.state.as_ref().map(HeaderValue::as_bytes)
    }

    fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(LENGTH);
        text.extend_from_slice(b"00-");
        write(&self.trace, &mut text);
        text.push(b'-');
        write(&self.span, &mut text);
        text.push(b'-');
        write(&[self.flags()], &mut text);
        text
    }
}

/// A header of hexadecimal digits, hyphens, and a state that was a header's. All of these
/// are valid.
fn header(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A `tracestate` to pass on.
fn state(text: &[u8]) -> Option<HeaderValue> {
    let (mut members, mut keys) = (0, Vec::new());
    for member in text.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        if member.is_empty() {
            continue;
        }
        let equals = member.iter().position(|&byte| byte == b'=')?;
        let (key, value) = (&member[..equals], &member[equals + 1..]);
        if !is_key(key) || !is_value(value) || keys.contains(&key) {
            return None;
        }
        keys.push(key);
        members += 1;
        if members > MEMBERS_LIMIT {
            return None;
        }
    }
    (members > 0 && text.len() <= STATE_LIMIT).then(|| HeaderValue::from_bytes(text).ok())?
}

/// `simple-key` or `multi-tenant-key` of the specification, both with at most 256 characters.
fn is_key(key: &[u8]) -> bool {
    let plain =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(byte);
    let begins = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.len() <= 256 && key.first().is_some_and(begins) && key.iter().all(plain)
}

/// Printable ASCII without `,` and `=`, at most 256 characters, not ending with a space.
fn is_value(value: &[u8]) -> bool {
    let plain = |byte: &u8| (b' '..=b'~').contains(byte) && !b",=".contains(byte);
    (1..=256).contains(&value.len()) && value.iter().all(plain)
}

/// Whether these are lower-case hexadecimal digits, not all zero. Without a branch for each,
/// so that a processor looks at many at once: most requests of clients with traces come here.
fn is_identifier(digits: &[u8]) -> bool {
    let plain = |digit: &u8| digit.is_ascii_digit() | (b'a'..=b'f').contains(digit);
    let all = digits.iter().fold(true, |all, digit| all & plain(digit));
    all && digits.iter().fold(0, |any, digit| any | (digit ^ b'0')) != 0
}

/// The bytes of digits that are valid.
fn decode(digits: &[u8], bytes: &mut [u8]) {
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks().0) {
        *byte = self::byte(*pair).unwrap_or_default();
    }
}

fn byte([high, low]: [u8; 2]) -> Option<u8> {
    Some(digit(high)? << 4 | digit(low)?)
}

/// Upper case is not allowed.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

fn write(bytes: &[u8], text: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 0xf)]);
    }
}

#[cfg(test)]
mod tests {
    use super::{Context, Parent};

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn parents() {
        let line = |version: &str, flags: &str| format!("{version}-{TRACE}-{SPAN}-{flags}");
        let rows = [
            (line("00", "01"), Some(0x01)),
            (line("00", "00"), Some(0x00)),
            (line("00", "03"), Some(0x03)),
            // Flags that are not known yet.
            (line("00", "ff"), Some(0xff)),
            // A later version, with and without more.
            (line("cc", "01"), Some(0x01)),
            (line("cc", "01") + "-what-comes", Some(0x01)),
            (line("cc", "01") + "-", Some(0x01)),
            (line("cc", "01") + "more", None),
            (line("ff", "01"), None),
            // Version 00 has nothing more.
            (line("00", "01") + "-", None),
            (line("00", "01") + " ", None),
            (format!(" {}", line("00", "01")), None),
            (line("00", "1"), None),
            (line("0", "01"), None),
            (line("0x", "01"), None),
            (line("00", "0g"), None),
            (line("00", "0A"), None),
            (line("00", "01").to_uppercase(), None),
            (line("00", "01").replace('-', "_"), None),
            (line("00", "01").replacen('4', "g", 1), None),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (format!("00-{TRACE}{SPAN}--01-----"), None),
            (format!("00-{TRACE}-{SPAN}"), None),
            (String::new(), None),
            ("\u{e9}".repeat(28), None),
        ];
        for (text, flags) in rows {
            let parent = Parent::parse(text.as_bytes());
            assert_eq!(parent.map(|parent| parent.flags), flags, "{text:?}");
            if let Some(parent) = parent {
                assert_eq!(parent.trace()[..2], [0x4b, 0xf9], "{text:?}");
                assert_eq!(parent.low(), 0xa3ce_929d_0e0e_4736, "{text:?}");
                assert_eq!(
                    parent.span(),
                    [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7],
                    "{text:?}"
                );
            }
        }
        // Whatever it is, it is no panic.
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut text = line("00", "01").into_bytes();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..text.len());
                text[at] = random.u8(..);
            }
            text.truncate(random.usize(40..=text.len()));
            let _ = Parent::parse(&text);
            let _ = Context::from_header(&text);
        }
    }

    #[test]
    fn written_as_it_was_read() {
        for (flags, state, written, header) in [
            ("01", None, "01", ""),
            // Only the flags that are known are passed on.
            ("ff", None, "03", ""),
            // It is sampled here.
            ("00", None, "01", ""),
            ("01", Some("a=1,b@c=2 3"), "01", ";a=1,b@c=2 3"),
            ("01", Some("not valid"), "01", ""),
        ] {
            let state = state.map(str::as_bytes);
            let parent = format!("00-{TRACE}-{SPAN}-{flags}");
            let parent = Parent::parse(parent.as_bytes()).unwrap();
            let context = Context::below(&parent, state, [0, 1, 2, 3, 4, 5, 6, 7]);
            let text = format!("00-{TRACE}-0001020304050607-{written}");
            assert_eq!(context.traceparent(), text);
            assert_eq!(context.to_header(), format!("{text}{header}"));
            let value = context.tracestate().map(|state| state.to_str().unwrap().to_owned());
            assert_eq!(value.as_deref(), header.strip_prefix(';'));
            assert_eq!(Context::from_header(context.to_header().as_bytes()), Some(context));
        }
        let root = Context::root([0xab; 16], [0xcd; 8]);
        let text = format!("00-{}-{}-03", "ab".repeat(16), "cd".repeat(8));
        assert_eq!(root.traceparent(), text);
        // Nobody joins what is not sampled.
        assert_eq!(Context::from_header(text.replace("-03", "-02").as_bytes()), None);
        assert_eq!(Context::from_header(b""), None);
    }

    #[test]
    fn what_is_no_state() {
        let many =
            |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        let long = |length: usize| format!("k={}", "v".repeat(length));
        let padded = format!("a=1{}", " ,".repeat(300));
        for (text, valid) in [
            ("a=1", true),
            ("a=1, b=2", true),
            ("a=1,,b=2", true),
            ("t@tenant=1,0a*/_-=x", true),
            (many(32).as_str(), true),
            (many(33).as_str(), false),
            (long(256).as_str(), true),
            (long(257).as_str(), false),
            (padded.as_str(), false),
            ("a=1,a=2", false),
            ("A=1", false),
            ("_a=1", false),
            ("a=", false),
            ("=1", false),
            ("a", false),
            ("a=b=c", false),
            ("a=\u{e9}", false),
            ("a=\t1\t2", false),
            ("", false),
            (" , ", false),
        ] {
            assert_eq!(super::state(text.as_bytes()).is_some(), valid, "{text:?}");
        }
    }
}
