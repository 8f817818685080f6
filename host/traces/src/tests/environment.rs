//! What variables mean.

use super::read;
use crate::environment::Settings;
use crate::export::Protocol;
use crate::sampler::Sampler;
use std::time::Duration;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";

fn wanted(variables: &[(&str, &str)]) -> Settings {
    read(variables).unwrap().unwrap_or_else(|| panic!("{variables:?}"))
}

#[test]
fn when_there_are_traces() {
    for (variables, traces) in [
        (&[][..], false),
        (&[(EXPORTER, "otlp")], true),
        (&[(EXPORTER, " OTLP ")], true),
        (&[(EXPORTER, "none")], false),
        (&[(EXPORTER, "")], false),
        (&[(ENDPOINT, "http://collector:4318")], true),
        (&[(TRACES_ENDPOINT, "http://collector:4318/x")], true),
        (&[(ENDPOINT, "")], false),
        (&[(ENDPOINT, "http://collector:4318"), (EXPORTER, "none")], false),
        (&[(ENDPOINT, "http://collector:4318"), (EXPORTER, "otlp")], true),
        (&[(ENDPOINT, "http://collector:4318"), ("OTEL_SDK_DISABLED", "True")], false),
        (&[(ENDPOINT, "http://collector:4318"), ("OTEL_SDK_DISABLED", "false")], true),
        // Of other signals, or without a collector.
        (&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://collector:4318")], false),
        (&[("OTEL_SERVICE_NAME", "x"), ("OTEL_TRACES_SAMPLER", "always_on")], false),
        // What is not used is not complained of.
        (&[(EXPORTER, "none"), (ENDPOINT, "nonsense")], false),
    ] {
        assert_eq!(read(variables).unwrap().is_some(), traces, "{variables:?}");
    }
}

#[test]
fn destinations() {
    let rows = [
        (&[][..], "http://localhost:4318", "localhost", 4318, "/v1/traces"),
        (&[(PROTOCOL, "grpc")], "http://localhost:4317", "localhost", 4317, "/v1/traces"),
        (&[(ENDPOINT, "http://c:1")], "http://c:1", "c", 1, "/v1/traces"),
        (&[(ENDPOINT, "http://c:1/")], "http://c:1", "c", 1, "/v1/traces"),
        (&[(ENDPOINT, "http://c/my/")], "http://c", "c", 80, "/my/v1/traces"),
        (&[(ENDPOINT, "https://c/my")], "https://c", "c", 443, "/my/v1/traces"),
        (&[(ENDPOINT, "http://[::1]:4318")], "http://[::1]:4318", "::1", 4318, "/v1/traces"),
        (&[(TRACES_ENDPOINT, "http://c:1")], "http://c:1", "c", 1, "/"),
        (&[(TRACES_ENDPOINT, "http://c:1/in?key=1")], "http://c:1", "c", 1, "/in?key=1"),
        (&[(TRACES_ENDPOINT, "http://t/x"), (ENDPOINT, "http://c")], "http://t", "t", 80, "/x"),
        (&[(PROTOCOL, "grpc"), (ENDPOINT, "c:4317")], "https://c:4317", "c", 4317, "/v1/traces"),
        (
            &[(PROTOCOL, "grpc"), (ENDPOINT, "c:4317"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")],
            "http://c:4317",
            "c",
            4317,
            "/v1/traces",
        ),
    ];
    for (variables, origin, host, port, path) in rows {
        let mut all = vec![(EXPORTER, "otlp")];
        all.extend_from_slice(variables);
        let endpoint = wanted(&all).destination.endpoint;
        let found = (
            endpoint.origin(),
            endpoint.server.host.as_str(),
            endpoint.server.port,
            endpoint.path.as_str(),
        );
        assert_eq!(found, (origin.to_owned(), host, port, path), "{variables:?}");
    }
}

#[test]
fn values() {
    let settings = wanted(&[(EXPORTER, "otlp")]);
    assert!(settings.destination.protocol == Protocol::Http && !settings.destination.gzip);
    assert!(settings.destination.headers.is_empty() && settings.propagates);
    assert_eq!(settings.destination.timeout, Duration::from_secs(10));
    assert_eq!((settings.queue, settings.batch), (2048, 512));
    assert_eq!(settings.schedule.delay, Duration::from_secs(5));
    assert_eq!(settings.schedule.export, Duration::from_secs(30));
    assert_eq!(settings.sampler, Sampler::new(1.0, true));

    let settings = wanted(&[
        (EXPORTER, "otlp"),
        (PROTOCOL, "nonsense"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "GRPC"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", " Api-Key = k%2C%3D , b=, "),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "0"),
        ("OTEL_TRACES_SAMPLER", "TraceIdRatio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_PROPAGATORS", "baggage"),
    ]);
    let destination = settings.destination;
    assert!(destination.protocol == Protocol::Grpc && destination.gzip && !settings.propagates);
    assert_eq!(destination.timeout, Duration::from_millis(250));
    assert_eq!(destination.headers.len(), 2);
    assert_eq!(destination.headers["api-key"], "k,=");
    assert!(destination.headers["api-key"].is_sensitive());
    assert_eq!((settings.queue, settings.batch), (10, 10));
    assert_eq!(settings.schedule.delay, Duration::ZERO);
    assert_eq!(settings.schedule.export, Duration::from_hours(1));
    assert_eq!(settings.sampler, Sampler::new(0.25, false));
}

#[test]
fn resources() {
    let names = |variables: &[(&str, &str)]| {
        let mut all = vec![(EXPORTER, "otlp")];
        all.extend_from_slice(variables);
        String::from_utf8_lossy(&wanted(&all).resource).into_owned()
    };
    let known = names(&[]);
    for text in ["service.name", "roadstead", "1.2.3", "roadstead.component.digest", "sha256:abc"] {
        assert!(known.contains(text), "{known}");
    }
    let said = names(&[
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=first,service.version=9,deployment.environment=t%C3%A9st",
        ),
        ("OTEL_SERVICE_NAME", "second"),
    ]);
    for (text, there) in [("second", true), ("first", false), ("tést", true)] {
        assert_eq!(said.contains(text), there, "{text}: {said}");
    }
    assert_eq!(said.matches("service.version").count(), 1);
}

#[test]
fn values_that_cannot_be_used() {
    let many = vec!["a=1"; 129].join(",");
    for (name, value, what) in [
        (EXPORTER, "console", "`console` is not supported; use otlp or none"),
        (EXPORTER, "otlp,console", "`otlp,console` is not supported"),
        ("OTEL_SDK_DISABLED", "1", "`1` is neither true nor false"),
        (ENDPOINT, "collector:4318", "does not begin with http:// or https://"),
        (ENDPOINT, "ftp://collector", "begins neither with http://"),
        (ENDPOINT, "http://a b", "is not a URL"),
        (ENDPOINT, "http://:4318", "it names no host"),
        (ENDPOINT, "http://c:", "no port after a colon"),
        (ENDPOINT, "http://user:SECRET@c", "it has credentials"),
        (TRACES_ENDPOINT, "http://", "is not a URL"),
        (PROTOCOL, "http/json", "`http/json` is not supported; use http/protobuf or grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "`10s` is not a number of milliseconds"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "`zstd` is not supported"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,SECRET", "the 2. pair is not of the form name=value"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "=SECRET", "the 1. pair is not of the form"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=SECRET", "`a b` is not the name of a header"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=SECRET%0A", "the value of a is not one of a header"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=SECRET%ff", "the 1. pair is not UTF-8"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "content-type=SECRET", "content-type cannot be set"),
        ("OTEL_EXPORTER_OTLP_HEADERS", &many, "has more than 128 pairs"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a", "the 1. pair is not of the form name=value"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "`0` is not a number from 1 to 131072"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "131073", "is not a number from 1 to 131072"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2049", "is more than OTEL_BSP_MAX_QUEUE_SIZE, 2048"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8193", "`8193` is not a number from 1 to 8192"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1", "`-1` is not a number of milliseconds"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "", ""),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "`jaeger_remote` is not supported"),
        ("OTEL_TRACES_SAMPLER", "parentbased_", "`parentbased_` is not supported"),
        ("OTEL_PROPAGATORS", "tracecontext,b3", "`b3` is not supported"),
    ] {
        let result = read(&[(EXPORTER, "otlp"), (name, value)]).map(drop);
        if what.is_empty() {
            assert_eq!(result, Ok(()), "{name}={value}");
            continue;
        }
        let text = result.expect_err(&format!("{name}={value}"));
        assert!(text.starts_with(&format!("{name}: ")) && text.contains(what), "{text}");
        assert!(!text.contains("SECRET"), "{text}");
    }
    for ratio in ["2", "-0.1", "x", "NaN"] {
        let text = read(&[
            (EXPORTER, "otlp"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", ratio),
        ]);
        let expected = format!("OTEL_TRACES_SAMPLER_ARG: `{ratio}` is not a number from 0 to 1");
        assert_eq!(text.map(drop), Err(expected));
    }
    // The longest times.
    let longest = wanted(&[
        (EXPORTER, "otlp"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "99999999999"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "99999999999"),
    ]);
    let hour = Duration::from_hours(1);
    assert_eq!(longest.destination.timeout, hour);
    assert_eq!((longest.schedule.delay, longest.schedule.export), (hour, hour));
}
