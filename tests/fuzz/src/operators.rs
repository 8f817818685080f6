//! What operators write, and what is written for them: policies, lines of the log, and traces.

use roadstead_access::{Immutable, Outcome, Quotas, Retention, TagTimes, Times, Verdict};
use roadstead_telemetry::Target;
use roadstead_telemetry::access::{Exchange, Format};
use roadstead_traces::{Resource, Traces};
use std::net::{IpAddr, Ipv6Addr};
use std::str::from_utf8;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;

/// A length of a line that no combination of cut texts reaches.
const LONGEST_LINE: usize = 64 * 1024;

/// Which tags never change, which expire, and how much repositories may hold.
pub(crate) fn policies(data: &[u8]) {
    let Ok(text) = from_utf8(data) else { return };
    if let Ok(immutable) = Immutable::parse(text) {
        for (repository, tag) in [("a", "1"), ("team/app", "v1.2"), ("", "")] {
            let keeps = immutable.keeps(repository, tag).is_some();
            assert!(!keeps || immutable.rule(repository, tag).is_some());
            assert!(!keeps || immutable.may_keep(repository));
        }
    }
    if let Ok(quotas) = Quotas::parse(text) {
        for rule in quotas.rules("team/app") {
            assert!(rule.bytes().is_some() || rule.tags().is_some(), "{}", rule.name());
        }
    }
    let Ok(retention) = Retention::parse(text, false) else { return };
    let now = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 50);
    let tag = |tag: &str, days: u64, pulled: Option<u64>| TagTimes {
        tag: tag.to_owned(),
        pushed: now - Duration::from_hours(24 * days),
        pulled: pulled.map(|days| now - Duration::from_hours(24 * days)),
    };
    let tags = [
        tag("latest", 0, Some(0)),
        tag("v1.2", 40, Some(3)),
        tag("pr-7", 400, None),
        tag("unknown", 24 * 365 * 50, None),
    ];
    for repository in ["a", "team/app"] {
        let Some(policy) = retention.policy(repository) else { continue };
        for recorded in [None, Some(SystemTime::UNIX_EPOCH)] {
            let judged = policy.judge(&tags, Times { now, recorded });
            for tag in &tags {
                if judged.verdict(tag) == Verdict::Expires {
                    // Only what is known, what is named, and what nothing keeps.
                    assert!(tag.pushed > SystemTime::UNIX_EPOCH, "{text}");
                    let findings = judged.findings(tag);
                    assert!(!findings.is_empty(), "{text}");
                    assert!(findings.iter().all(|it| it.outcome == Outcome::Fails), "{text}");
                }
            }
        }
    }
}

/// A line of the access log is one line, of the format that it is said to have.
pub(crate) fn lines(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (method, path, query) = (text(next()), text(next()), text(next()));
    let (agent, referer) = (next(), next());
    let (user, claimed, id, code) = (text(next()), text(next()), text(next()), text(next()));
    let exchange = Exchange {
        method: &method,
        path: &path,
        query: Some(&query),
        version: "HTTP/1.1",
        target: Target::of(&path),
        status: u16::from(data.first().copied().unwrap_or_default()) + 100,
        code: Some(&code),
        received: 1,
        sent: u64::MAX,
        complete: false,
        time: Duration::MAX,
        cached: true,
        client: IpAddr::V6(Ipv6Addr::LOCALHOST),
        user: Some(&user),
        claimed: Some(&claimed),
        agent: Some(agent),
        referer: Some(referer),
        id: &id,
        trace: None,
    };
    for format in [Format::Json, Format::Combined, Format::Text { colour: false }] {
        let mut line = Vec::new();
        exchange.write(format, SystemTime::now(), &mut line);
        assert!(line.len() < LONGEST_LINE, "{}", line.len());
        let line = from_utf8(&line).unwrap_or_else(|error| panic!("{format:?}: {error}"));
        let line = line.strip_suffix('\n').unwrap_or_else(|| panic!("{format:?}: {line}"));
        assert!(!line.chars().any(char::is_control), "{format:?}: {line}");
        assert!(!line.contains(['\u{2028}', '\u{2029}', '\u{202e}']), "{format:?}: {line}");
        if format == Format::Json {
            let value: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(value["status"], exchange.status);
        }
    }
}

/// Traces that clients name, and the variables that turn traces on.
pub(crate) fn traces(data: &[u8]) {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap_or_else(|error| panic!("{error}"))
    });
    let _entered = runtime.enter();
    let resource =
        || Resource { version: "0.0.0", component: None, roots: rustls::RootCertStore::empty };
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let (parent, state) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let given: Vec<(&str, &str)> = from_utf8(parts.next().unwrap_or_default())
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let variables = |name: &str| {
        let given = given.iter().find(|(given, _)| *given == name);
        match (given, name) {
            (Some((_, value)), _) => Some((*value).to_owned()),
            (None, "OTEL_TRACES_EXPORTER") => Some("otlp".to_owned()),
            (None, "OTEL_EXPORTER_OTLP_ENDPOINT") => Some("http://127.0.0.1:1".to_owned()),
            (None, _) => None,
        }
    };
    let Ok(Some(traces)) = Traces::from_environment(variables, resource()) else { return };
    let Some(active) = traces.begin(Some(parent), Some(state)) else { return };
    let context = active.context();
    let header = context.traceparent();
    let text = header.to_str().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(text.len(), 55, "{text}");
    let plain = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
    assert!(text.starts_with("00-") && text.bytes().all(plain), "{text}");
    if let Some(state) = context.tracestate() {
        assert!(state.len() <= 512 && state.to_str().is_ok(), "{state:?}");
    }
}
