//! Lines of requests, as they are written.

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
        ("a\nb\r\t\u{7f}", "\"a\\u000ab\\u000d\\u0009\\u007f\"", "a\\u000ab\\u000d\\u0009\\u007f"),
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
        assert!(line(&exchange, Format::Combined).ends_with(&format!(" \"{json}\" \"{json}\"")));
    }
    let agent: &[u8] = b"\xff\xfe";
    let exchange = Exchange { agent: Some(agent), ..exchange() };
    let parsed: serde_json::Value = serde_json::from_str(&line(&exchange, Format::Json)).unwrap();
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
