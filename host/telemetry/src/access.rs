//! Lines of the access log: one for each request, when its response has ended.
//!
//! What clients send is escaped, shortened, and never shown where it may be a secret: no header is
//! logged but `User-Agent` and `Referer`, and of a query the values of those parameters only that
//! clients of registries send.

#[cfg(test)]
mod tests;

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
        fields.word("route", self.target.handler.as_str());
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
