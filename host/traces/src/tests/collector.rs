//! OpenTelemetry's own collector, where `.ci/install-otelcol` has built it.

use super::{SOON, start, until};
use crate::Step;
use http::{HeaderMap, Method, StatusCode, Version};
use serde_json::json;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn collector() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/bin/otelcol");
    program.exists().then_some(program)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs a collector that listens at these ports and writes down in `log` what it gets.
fn run(program: &Path, log: &Path, http: u16, grpc: u16) -> Process {
    let config = json!({
        "receivers": {"otlp": {"protocols": {
            "http": {"endpoint": format!("127.0.0.1:{http}")},
            "grpc": {"endpoint": format!("127.0.0.1:{grpc}")},
        }}},
        "exporters": {"debug": {"verbosity": "detailed", "use_internal_logger": false}},
        "service": {
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["debug"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
    });
    let file = log.with_extension("yaml");
    std::fs::write(&file, serde_json::to_vec(&config).unwrap()).unwrap();
    let output = std::fs::File::create(log).unwrap();
    let collector = Command::new(program)
        .arg("--config")
        .arg(&file)
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .stdin(Stdio::null())
        .spawn();
    Process(collector.unwrap())
}

#[tokio::test]
async fn a_collector_writes_down_what_was_sent() {
    let Some(program) = collector() else {
        eprintln!("skipped: there is no otelcol; .ci/install-otelcol builds it");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let [http, grpc] = [free_port(), free_port()];
    let _collector = run(&program, &log, http, grpc);
    let said = || String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
    until("the collector is ready", || said().contains("Everything is ready")).await;

    for (protocol, port, gzip) in [
        ("http/protobuf", http, "none"),
        ("http/protobuf", http, "gzip"),
        ("grpc", grpc, "none"),
        ("grpc", grpc, "gzip"),
    ] {
        let name = format!("{protocol} {gzip}");
        let traces = start(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://127.0.0.1:{port}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", gzip),
            ("OTEL_SERVICE_NAME", &name),
        ]);
        let state = Some(&b"a=1"[..]);
        let parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut request = traces.begin(Some(parent), state).unwrap();
        let line = (&Method::PUT, &"/v2/team/app/manifests/1".parse().unwrap(), Version::HTTP_11);
        request.request(line, &HeaderMap::new(), "192.0.2.7".parse().unwrap(), false);
        let component = request.child(Step::Component);
        let mut storage = component.child(Step::Storage(br#"{"link":{}}"#));
        storage.set("roadstead.cached", true);
        drop((storage, component));
        request.response(StatusCode::INTERNAL_SERVER_ERROR);
        drop(request);
        traces.shut_down(SOON).await;
        assert_eq!(traces.counts().exported, 3, "{name}: {}", said());
        let all = format!("service.name: Str({name})");
        until(&name, || said().split(&all).nth(1).is_some_and(|said| said.contains("http.route")))
            .await;
    }
    let said = said();
    for (text, times) in [
        ("Trace ID       : 4bf92f3577b34da6a3ce929d0e0e4736", 12),
        ("Parent ID      : 00f067aa0ba902b7", 4),
        ("Name           : PUT /v2/{name}/manifests/{reference}", 4),
        ("Name           : storage link", 4),
        ("Kind           : Server", 4),
        ("Kind           : Internal", 8),
        ("TraceState     : a=1", 12),
        ("Status code    : Error", 4),
        ("-> http.response.status_code: Int(500)", 4),
        ("-> roadstead.cached: Bool(true)", 4),
        ("-> client.address: Str(192.0.2.7)", 4),
        ("-> service.version: Str(1.2.3)", 4),
        ("InstrumentationScope roadstead 1.2.3", 4),
    ] {
        assert_eq!(said.matches(text).count(), times, "{text}: {said}");
    }
}
