//! What a collector gets of a request.

use super::decoded::Span;
use super::receiver::Receiver;
use super::{SOON, start};
use crate::{Step, Traces, attribute};
use http::{HeaderMap, Method, StatusCode, Version};
use std::time::{SystemTime, UNIX_EPOCH};

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

/// A pull over a bucket, as the host records it.
fn pull(traces: &Traces, incoming: &HeaderMap) {
    let mut request = traces.begin_request(incoming).unwrap();
    request.request(
        (
            &Method::GET,
            &"https://registry.example:5000/v2/team/app/manifests/1.2?token=SECRET"
                .parse()
                .unwrap(),
            Version::HTTP_2,
        ),
        incoming,
        "192.0.2.7".parse().unwrap(),
        true,
    );
    drop(request.child(Step::Turn));
    let component = request.child(Step::Component);
    // What the component repeats in what it asks for.
    let header = component.context().to_header();
    let mut storage = traces.join(header.as_bytes(), Step::Storage(br#"{"manifest":{}}"#)).unwrap();
    storage.set(attribute::SIZE, 1234_u64);
    drop(storage);
    let url = "https://user:SECRET@bucket.example/a%20b?X-Amz-Signature=SECRET".parse().unwrap();
    let mut store = traces.join(header.as_bytes(), Step::Request(&Method::GET, &url)).unwrap();
    store.response(StatusCode::NOT_FOUND);
    drop(store);
    drop(component);
    let mut cache = request.child(Step::Cache);
    cache.fail("gone");
    drop(cache);
    request.set(attribute::CACHED, false);
    request.response(StatusCode::NOT_FOUND);
}

async fn recorded(variables: &[(&str, &str)], incoming: &HeaderMap) -> Vec<Span> {
    let receiver = Receiver::start([]).await;
    let url = receiver.url();
    let mut all = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str())];
    all.extend_from_slice(variables);
    let traces = start(&all);
    pull(&traces, incoming);
    traces.shut_down(SOON).await;
    assert_eq!(traces.counts().exported, 6);
    receiver.spans()
}

fn attributes(span: &Span) -> String {
    let attributes: Vec<_> =
        span.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    attributes.join("\n")
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is all of one trace")]
async fn a_request_and_its_steps() {
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let incoming = headers(&[
        ("traceparent", PARENT),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
        ("user-agent", "docker/29 SECRET?"),
        ("authorization", "Basic SECRET"),
        ("host", "other.example"),
    ]);
    let spans = recorded(&[], &incoming).await;
    let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let names: Vec<_> = spans.iter().map(|span| (span.name.as_str(), span.kind)).collect();
    assert_eq!(
        names,
        [
            ("turn", 1),
            ("storage manifest", 1),
            ("GET", 3),
            ("component", 1),
            ("cache", 1),
            ("GET /v2/{name}/manifests/{reference}", 2),
        ]
    );
    let [turn, storage, store, component, cache, request] = &spans[..] else { panic!() };
    assert_eq!(request.parent, [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
    for (span, parent) in [
        (turn, request),
        (component, request),
        (cache, request),
        (storage, component),
        (store, component),
    ] {
        assert_eq!(span.parent, parent.id, "{}", span.name);
        assert!(parent.start <= span.start, "{}", span.name);
        // Sampled, and a parent that is known to be here.
        assert_eq!(span.flags, 0x101, "{}", span.name);
    }
    // A parent that is known to be elsewhere.
    assert_eq!(request.flags, 0x301);
    let mut ids: Vec<_> = spans.iter().map(|span| span.id.clone()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), spans.len());
    for span in &spans {
        assert_eq!(span.trace, TRACE.to_be_bytes(), "{}", span.name);
        assert_eq!(span.state, "a=1,b=2", "{}", span.name);
        assert!(before <= u128::from(span.start) && span.start <= span.end, "{}", span.name);
        assert!(u128::from(span.start) <= after, "{}", span.name);
        assert_eq!(span.scope, ("roadstead".to_owned(), "1.2.3".to_owned()));
        assert_eq!(span.resource["service.name"], r#""roadstead""#);
    }
    assert_eq!(spans.iter().map(|span| span.status).collect::<Vec<_>>(), [0, 0, 2, 0, 2, 0]);
    // Of all that is secret, only what the client says that it is called.
    assert_eq!(
        attributes(request),
        r#"client.address="192.0.2.7"
http.request.method="GET"
http.response.status_code=404
http.route="/v2/{name}/manifests/{reference}"
network.protocol.version="2"
roadstead.cached=false
roadstead.repository="team/app"
server.address="registry.example"
server.port=5000
url.path="/v2/team/app/manifests/1.2"
url.scheme="https"
user_agent.original="docker/29 SECRET?""#
    );
    assert_eq!(
        attributes(store),
        r#"error.type="404"
http.request.method="GET"
http.response.status_code=404
server.address="bucket.example"
url.full="https://bucket.example/a%20b""#
    );
    assert_eq!(
        attributes(storage),
        r#"roadstead.storage.operation="manifest"
roadstead.storage.size=1234"#
    );
    assert_eq!(attributes(cache), r#"error.type="gone""#);
}

#[tokio::test]
async fn a_trace_that_begins_here() {
    for (variables, incoming) in [
        (&[][..], headers(&[("host", "[::1]:5000")])),
        // Which of them is the client's?
        (&[], headers(&[("traceparent", PARENT), ("traceparent", PARENT)])),
        (&[], headers(&[("traceparent", "00-nonsense"), ("tracestate", "a=1")])),
        // Clients' traces are not continued.
        (&[("OTEL_PROPAGATORS", "none")], headers(&[("traceparent", PARENT)])),
    ] {
        let spans = recorded(variables, &incoming).await;
        let root = spans.last().unwrap();
        assert_eq!((root.parent.len(), root.state.as_str(), root.flags), (0, "", 0x103));
        assert!(root.trace.iter().any(|&byte| byte != 0));
        assert_ne!(root.trace[..2], [0x4b, 0xf9]);
        assert!(spans.iter().all(|span| span.trace == root.trace));
    }
}

#[tokio::test]
async fn odd_requests() {
    let receiver = Receiver::start([]).await;
    let traces = start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url())]);
    for (method, uri, host, status) in [
        ("GET", "/v2/a/blobs/uploads/1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", "[::1]:5000", 500),
        ("BREW", "/pot", "not a host/", 200),
    ] {
        let mut request = traces.begin(None, None).unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let address = "::1".parse().unwrap();
        let line = (&method, &uri.parse().unwrap(), Version::HTTP_10);
        request.request(line, &headers(&[("host", host)]), address, false);
        request.response(StatusCode::from_u16(status).unwrap());
    }
    traces.shut_down(SOON).await;
    let spans = receiver.spans();
    assert_eq!(spans[0].name, "GET /v2/{name}/blobs/uploads/{id}");
    assert_eq!((spans[0].status, spans[1].status), (2, 0));
    assert_eq!(
        attributes(&spans[0]),
        r#"client.address="::1"
error.type="500"
http.request.method="GET"
http.response.status_code=500
http.route="/v2/{name}/blobs/uploads/{id}"
network.protocol.version="1.0"
roadstead.repository="a"
server.address="::1"
server.port=5000
url.path="/v2/a/blobs/uploads/1b9d6bcd…"
url.scheme="http""#
    );
    assert_eq!(spans[1].name, "HTTP");
    assert_eq!(
        attributes(&spans[1]),
        r#"client.address="::1"
http.request.method="_OTHER"
http.request.method_original="BREW"
http.response.status_code=200
network.protocol.version="1.0"
url.path="/pot"
url.scheme="http""#
    );
}

#[tokio::test]
async fn what_is_not_sampled() {
    let receiver = Receiver::start([]).await;
    let url = receiver.url();
    let unrecorded = PARENT.replace("-01", "-00");
    // The lower half of this trace's identifier is above the middle.
    for (sampler, ratio, none, recorded, not_recorded) in [
        ("always_on", "", true, true, true),
        ("always_off", "", false, false, false),
        ("traceidratio", "1", true, true, true),
        ("traceidratio", "0", false, false, false),
        ("parentbased_always_on", "", true, true, false),
        ("parentbased_always_off", "", false, true, false),
        ("parentbased_traceidratio", "0", false, true, false),
        ("parentbased_traceidratio", "1", true, true, false),
        ("", "", true, true, false),
    ] {
        let traces = start(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
            ("OTEL_TRACES_SAMPLER", sampler),
            ("OTEL_TRACES_SAMPLER_ARG", ratio),
        ]);
        let begins = |parent: Option<&str>| traces.begin(parent.map(str::as_bytes), None).is_some();
        let found = (begins(None), begins(Some(PARENT)), begins(Some(&unrecorded)));
        assert_eq!(found, (none, recorded, not_recorded), "{sampler} {ratio}");
        traces.shut_down(SOON).await;
    }
    // Nothing is joined that is not a span of a sampled trace.
    let traces = start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]);
    for header in ["", "1", unrecorded.as_str()] {
        assert!(traces.join(header.as_bytes(), Step::Access).is_none(), "{header}");
    }
    traces.shut_down(SOON).await;
}
