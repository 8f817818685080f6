//! Lines of the access log: one for each request, when its response has ended.
//!
//! What clients send is escaped, shortened, and never shown where it may be a secret: no header is
//! logged but `User-Agent` and `Referer`, and of a query the values of those parameters only that
//! clients of registries send.

use crate::Target;
use crate::clock;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// Bytes of a path, of a query and of a header that are logged.
///
/// Limit: bytes of a path, a query or a header in the access log; test: `long_requests_have_short_lines`.
const TEXT_LIMIT: usize = 1024;

/// The parameters whose values are logged.
const PLAIN_PARAMETERS: [&str; 14] = [
    "account",
    "artifactType",
    "client_id",
    "digest",
    "digest-algorithm",
    "from",
    "last",
    "mount",
    "n",
    "ns",
    "offline_token",
    "scope",
    "service",
    "tag",
];

/// The colours of a terminal (ECMA-48).
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[31m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For people, as the other lines of the log.
    Text {
        /// Whether a terminal shows it.
        colour: bool,
    },
    /// A JSON object.
    Json,
    /// Apache's Combined Log Format, as distribution's.
    Combined,
}

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its path.
    pub path: &'a str,
    /// Its query.
    pub query: Option<&'a str>,
    /// `HTTP/1.1`.
    pub version: &'static str,
    /// What it is about.
    pub target: Target<'a>,
    /// The status of the response.
    pub status: u16,
    /// The specification's code of an error.
    pub code: Option<&'a str>,
    /// The bytes of its body that were received.
    pub received: u64,
    /// The bytes of the response's body that were sent.
    pub sent: u64,
    /// Whether all of the response was sent.
    pub complete: bool,
    /// From its head to the end of the response.
    pub time: Duration,
    /// Whether the host's cache answered.
    pub cached: bool,
    /// The client's address.
    pub client: IpAddr,
    /// The user, as far as it is proven.
    pub user: Option<&'a str>,
    /// The name by which somebody tried to log in, and could not.
    pub claimed: Option<&'a str>,
    /// `User-Agent`.
    pub agent: Option<&'a [u8]>,
    /// `Referer`.
    pub referer: Option<&'a [u8]>,
    /// The identifier of the request.
    pub id: &'a str,
    /// The trace that it belongs to (W3C Trace Context).
    pub trace: Option<&'a str>,
}

impl Exchange<'_> {
    /// Adds its line.
    pub fn write(&self, format: Format, now: SystemTime, line: &mut Vec<u8>) {
        match format {
            Format::Text { colour } => self.text(colour, now, line),
            Format::Json => self.json(now, line),
            Format::Combined => self.combined(now, line),
        }
        line.push(b'\n');
    }

    fn text(&self, colour: bool, now: SystemTime, line: &mut Vec<u8>) {
        let paint = |line: &mut Vec<u8>, with: &str| {
            if colour {
                line.extend_from_slice(with.as_bytes());
            }
        };
        paint(line, DIM);
        clock::rfc3339(now, line);
        paint(line, RESET);
        line.push(b' ');
        paint(line, GREEN);
        line.extend_from_slice(b" INFO");
        paint(line, RESET);
        line.extend_from_slice(b" request method=");
        escaped(shortened(self.method.as_bytes()), line);
        line.extend_from_slice(b" uri=");
        self.uri(line);
        line.extend_from_slice(b" status=");
        paint(
            line,
            match self.status {
                ..400 => GREEN,
                400..500 => YELLOW,
                500.. => RED,
            },
        );
        number(line, u64::from(self.status));
        paint(line, RESET);
        let mut field = Fields { line, first: b"" };
        self.fields(&mut field);
    }

    fn json(&self, now: SystemTime, line: &mut Vec<u8>) {
        line.extend_from_slice(b"{\"timestamp\":\"");
        clock::rfc3339(now, line);
        line.extend_from_slice(b"\",\"level\":\"INFO\",\"message\":\"request\",\"method\":");
        quoted(self.method.as_bytes(), line);
        line.extend_from_slice(b",\"uri\":\"");
        self.uri(line);
        line.extend_from_slice(b"\",\"status\":");
        number(line, u64::from(self.status));
        let mut field = Fields { line, first: b"," };
        self.fields(&mut field);
        line.push(b'}');
    }

    /// What text and JSON have in the same order.
    fn fields(&self, fields: &mut Fields<'_>) {
        fields.number("microseconds", u64::try_from(self.time.as_micros()).unwrap_or(u64::MAX));
        fields.word("route", self.target.handler.label());
        fields.text("repository", self.target.repository.map(str::as_bytes));
        fields.text("reference", self.target.reference.map(str::as_bytes));
        fields.number("received", self.received);
        fields.number("sent", self.sent);
        if !self.complete {
            fields.word("ended", "early");
        }
        fields.word("cache", if self.cached { "hit" } else { "miss" });
        fields.address("client", self.client);
        fields.text("user", self.user.map(str::as_bytes));
        fields.text("claimed_user", self.claimed.map(str::as_bytes));
        fields.text("code", self.code.map(str::as_bytes));
        fields.text("user_agent", self.agent);
        fields.word("protocol", self.version);
        fields.text("request_id", Some(self.id.as_bytes()));
        fields.text("trace_id", self.trace.map(str::as_bytes));
    }

    fn combined(&self, now: SystemTime, line: &mut Vec<u8>) {
        // No write to memory fails.
        let _ = write!(line, "{} - ", self.client);
        match self.user.map(str::as_bytes) {
            Some(user) => plain_or_escaped(user, line),
            None => line.push(b'-'),
        }
        line.extend_from_slice(b" [");
        clock::apache(now, line);
        line.extend_from_slice(b"] \"");
        escaped(shortened(self.method.as_bytes()), line);
        line.push(b' ');
        self.uri(line);
        line.push(b' ');
        line.extend_from_slice(self.version.as_bytes());
        line.extend_from_slice(b"\" ");
        number(line, u64::from(self.status));
        line.push(b' ');
        number(line, self.sent);
        // What follows in an address may be a secret.
        let referer = self.referer.and_then(|it| it.split(|byte| *byte == b'?').next());
        for header in [referer, self.agent] {
            line.push(b' ');
            quoted(header.unwrap_or(b"-"), line);
        }
    }

    /// The path, and what of the query may be logged. Nothing in it looks like a space.
    fn uri(&self, line: &mut Vec<u8>) {
        escaped(shortened(self.target.shown(self.path).as_bytes()), line);
        let Some(query) = self.query else { return };
        let query = &query[..query.floor_char_boundary(TEXT_LIMIT)];
        for (number, pair) in query.split('&').enumerate() {
            line.push(if number == 0 { b'?' } else { b'&' });
            let Some((name, value)) = pair.split_once('=') else {
                let is_known = pair.is_empty() || PLAIN_PARAMETERS.contains(&pair);
                line.extend_from_slice(if is_known { pair.as_bytes() } else { b"*" });
                continue;
            };
            escaped(name.as_bytes(), line);
            line.push(b'=');
            if PLAIN_PARAMETERS.contains(&name) {
                escaped(value.as_bytes(), line);
            } else if !value.is_empty() {
                line.push(b'*');
            }
        }
    }
}

/// Fields of a line: `,"name":value` in JSON, and ` name=value` in text.
struct Fields<'a> {
    line: &'a mut Vec<u8>,
    first: &'static [u8],
}

impl Fields<'_> {
    fn name(&mut self, name: &str) {
        if self.first.is_empty() {
            self.line.push(b' ');
            self.line.extend_from_slice(name.as_bytes());
            self.line.push(b'=');
        } else {
            self.line.extend_from_slice(b",\"");
            self.line.extend_from_slice(name.as_bytes());
            self.line.extend_from_slice(b"\":");
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        number(self.line, value);
    }

    /// A word that needs no escape.
    fn word(&mut self, name: &str, value: &str) {
        self.name(name);
        let quote: &[u8] = if self.first.is_empty() { b"" } else { b"\"" };
        self.line.extend_from_slice(quote);
        self.line.extend_from_slice(value.as_bytes());
        self.line.extend_from_slice(quote);
    }

    fn address(&mut self, name: &str, value: IpAddr) {
        self.name(name);
        let quote: &[u8] = if self.first.is_empty() { b"" } else { b"\"" };
        self.line.extend_from_slice(quote);
        // No write to memory fails.
        let _ = write!(self.line, "{value}");
        self.line.extend_from_slice(quote);
    }

    fn text(&mut self, name: &str, value: Option<&[u8]>) {
        let Some(value) = value else { return };
        self.name(name);
        if self.first.is_empty() {
            plain_or_escaped(value, self.line);
        } else {
            quoted(value, self.line);
        }
    }
}

fn number(line: &mut Vec<u8>, number: u64) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A value without quotes if it needs none.
fn plain_or_escaped(value: &[u8], line: &mut Vec<u8>) {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
    if !value.is_empty() && value.len() <= TEXT_LIMIT && value.iter().all(plain) {
        line.extend_from_slice(value);
    } else {
        quoted(value, line);
    }
}

/// A value as a JSON string, whatever its bytes.
fn quoted(value: &[u8], line: &mut Vec<u8>) {
    line.push(b'"');
    escaped(shortened(value), line);
    line.push(b'"');
}

fn shortened(value: &[u8]) -> &[u8] {
    value.get(..TEXT_LIMIT).unwrap_or(value)
}

/// A value as within a JSON string, on one line, and without what a terminal would act on.
fn escaped(value: &[u8], line: &mut Vec<u8>) {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if value.iter().all(plain) {
        line.extend_from_slice(value);
        return;
    }
    let mut text = String::new();
    for character in String::from_utf8_lossy(value).chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            _ if character.is_control() || is_odd_space(character) || is_invisible(character) => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    // No write to memory fails.
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
            _ => text.push(character),
        }
    }
    line.extend_from_slice(text.as_bytes());
}

/// Whether a character looks like a space, and is another one.
fn is_odd_space(character: char) -> bool {
    let is_blank = matches!(character, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}');
    is_blank || character.is_whitespace() && character != ' '
}

/// Whether a terminal or an editor may act on a character, such as one that changes the direction
/// of text, or ends a line.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::{Exchange, Format, TEXT_LIMIT};
    use crate::Target;
    use std::net::IpAddr;
    use std::time::{Duration, UNIX_EPOCH};

    const TEXT: Format = Format::Text { colour: false };

    fn exchange() -> Exchange<'static> {
        let path = "/v2/team/app/manifests/1.2";
        Exchange {
            method: "GET",
            path,
            query: None,
            version: "HTTP/1.1",
            target: Target::of(path),
            status: 200,
            code: None,
            received: 0,
            sent: 4096,
            complete: true,
            time: Duration::from_micros(709),
            cached: true,
            client: IpAddr::from([192, 0, 2, 1]),
            user: Some("alice"),
            claimed: None,
            agent: Some(b"docker/29.1 go/1.25"),
            referer: None,
            id: "4bf92f3577b34da6",
            trace: None,
        }
    }

    fn line(exchange: &Exchange<'_>, format: Format) -> String {
        let mut line = Vec::new();
        let now = UNIX_EPOCH + Duration::from_micros(1_795_703_411_369_915);
        exchange.write(format, now, &mut line);
        let line = String::from_utf8(line).unwrap();
        let line = line.strip_suffix('\n').unwrap();
        assert!(!line.contains('\n'), "{line}");
        line.to_owned()
    }

    #[test]
    fn lines() {
        let plain = exchange();
        assert_eq!(
            line(&plain, TEXT),
            "2026-11-26T14:30:11.369915Z  INFO request method=GET uri=/v2/team/app/manifests/1.2 \
             status=200 microseconds=709 route=manifest repository=team/app reference=1.2 received=0 \
             sent=4096 cache=hit client=192.0.2.1 user=alice user_agent=\"docker/29.1 go/1.25\" \
             protocol=HTTP/1.1 request_id=4bf92f3577b34da6"
        );
        assert_eq!(
            line(&plain, Format::Combined),
            "192.0.2.1 - alice [26/Nov/2026:14:30:11 +0000] \"GET /v2/team/app/manifests/1.2 \
             HTTP/1.1\" 200 4096 \"-\" \"docker/29.1 go/1.25\""
        );
        let refused = Exchange {
            user: None,
            claimed: Some("bob"),
            code: Some("UNAUTHORIZED"),
            status: 401,
            cached: false,
            complete: false,
            agent: None,
            trace: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
            client: "2001:db8::1".parse().unwrap(),
            ..plain
        };
        assert_eq!(
            line(&refused, Format::Json),
            "{\"timestamp\":\"2026-11-26T14:30:11.369915Z\",\"level\":\"INFO\",\"message\":\
             \"request\",\"method\":\"GET\",\"uri\":\"/v2/team/app/manifests/1.2\",\"status\":401,\
             \"microseconds\":709,\"route\":\"manifest\",\"repository\":\"team/app\",\"reference\":\
             \"1.2\",\"received\":0,\"sent\":4096,\"ended\":\"early\",\"cache\":\"miss\",\"client\":\
             \"2001:db8::1\",\"claimed_user\":\"bob\",\"code\":\"UNAUTHORIZED\",\"protocol\":\
             \"HTTP/1.1\",\"request_id\":\"4bf92f3577b34da6\",\"trace_id\":\
             \"4bf92f3577b34da6a3ce929d0e0e4736\"}"
        );
        let coloured = line(&refused, Format::Text { colour: true });
        assert!(coloured.contains("status=\x1b[33m401\x1b[0m "), "{coloured:?}");
    }

    /// What a client sends can neither begin another line nor end a field, and is shown to no terminal.
    #[test]
    fn odd_requests_are_escaped() {
        for (odd, text, json) in [
            ("a b", "\"a b\"", "a b"),
            ("a\"b\\", "\"a\\\"b\\\\\"", "a\\\"b\\\\"),
            (
                "a\nb\r\t\u{7f}",
                "\"a\\u000ab\\u000d\\u0009\\u007f\"",
                "a\\u000ab\\u000d\\u0009\\u007f",
            ),
            ("\u{1b}[31m", "\"\\u001b[31m\"", "\\u001b[31m"),
            ("\u{202e}\u{2028}", "\"\\u202e\\u2028\"", "\\u202e\\u2028"),
            ("Zo\u{eb} \u{1f600}", "\"Zo\u{eb} \u{1f600}\"", "Zo\u{eb} \u{1f600}"),
            ("x=y", "\"x=y\"", "x=y"),
            ("a\u{3000}\u{a0}b", "\"a\\u3000\\u00a0b\"", "a\\u3000\\u00a0b"),
            ("", "\"\"", ""),
        ] {
            let exchange = Exchange {
                user: Some(odd),
                agent: Some(odd.as_bytes()),
                referer: Some(odd.as_bytes()),
                ..exchange()
            };
            assert!(line(&exchange, TEXT).contains(&format!(" user={text} user_agent={text} ")));
            let found = line(&exchange, Format::Json);
            let parsed: serde_json::Value = serde_json::from_str(&found).unwrap();
            assert_eq!(parsed["user"], odd);
            assert!(found.contains(&format!("\"user_agent\":\"{json}\"")), "{found}");
            assert!(
                line(&exchange, Format::Combined).ends_with(&format!(" \"{json}\" \"{json}\""))
            );
        }
        let agent: &[u8] = b"\xff\xfe";
        let exchange = Exchange { agent: Some(agent), ..exchange() };
        let parsed: serde_json::Value =
            serde_json::from_str(&line(&exchange, Format::Json)).unwrap();
        assert_eq!(parsed["user_agent"], "\u{fffd}\u{fffd}");
    }

    /// Whoever has all of an upload's identifier can take part in it.
    #[test]
    fn identifiers_of_uploads_are_cut() {
        let path = "/v2/a/blobs/uploads/1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";
        let exchange = Exchange {
            path,
            target: Target::of(path),
            referer: Some(b"https://ci/?token=secret"),
            ..exchange()
        };
        for format in [TEXT, Format::Json, Format::Combined] {
            let line = line(&exchange, format);
            assert!(line.contains("/v2/a/blobs/uploads/1b9d6bcd\u{2026}"), "{line}");
            assert!(!line.contains("bbfd") && !line.contains("secret"), "{line}");
        }
    }

    /// No value of a parameter that may be a secret is logged.
    #[test]
    fn queries() {
        for (query, expected) in [
            ("n=10&last=a", "?n=10&last=a"),
            ("account=bob&scope=repository:a:pull", "?account=bob&scope=repository:a:pull"),
            ("access_token=secret&n=1", "?access_token=*&n=1"),
            ("receipt=secret", "?receipt=*"),
            ("password=&secret&=secret", "?password=&*&=*"),
            ("n", "?n"),
            ("", "?"),
        ] {
            let exchange = Exchange { query: Some(query), ..exchange() };
            let expected = format!(" uri=/v2/team/app/manifests/1.2{expected} status");
            assert!(line(&exchange, TEXT).contains(&expected), "{query}");
        }
    }

    #[test]
    fn long_requests_have_short_lines() {
        let long = "\u{1f600}".repeat(TEXT_LIMIT);
        let path = format!("/v2/{}/manifests/t", "a".repeat(100_000));
        let exchange = Exchange {
            method: &long,
            path: &path,
            query: Some(&path),
            target: Target::of(&path),
            user: Some(&long),
            agent: Some(long.as_bytes()),
            ..exchange()
        };
        for format in [TEXT, Format::Json, Format::Combined] {
            let length = line(&exchange, format).len();
            assert!(length < 8 * TEXT_LIMIT, "{length}");
        }
    }
}
