//! Settings as a whole.

use super::full_names as read;
use crate::{LogFormat, LogLevel};
use std::path::PathBuf;
use std::time::Duration;

#[test]
fn defaults() {
    let config = read(&[("PATH", "/bin"), ("HOME", "/root")]).unwrap();
    assert_eq!(config.address, "127.0.0.1:5000");
    assert_eq!(config.root, None);
    assert_eq!(config.log_level, LogLevel::Info);
    assert!(config.access_log);
}

#[test]
fn settings_of_a_registry_2_container() {
    let config = read(&[
        ("REGISTRY_HTTP_ADDR", ":5001"),
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/srv/registry"),
        ("REGISTRY_LOG_LEVEL", "warn"),
        ("REGISTRY_LOG_FORMATTER", "json"),
        ("REGISTRY_LOG_ACCESSLOG_DISABLED", "true"),
        ("REGISTRY_HTTP_DRAINTIMEOUT", "5m"),
        ("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory"),
        ("REGISTRY_LOG_FIELDS_SERVICE", "registry"),
        ("REGISTRY_SERVICE_HOST", "10.0.0.1"),
        ("REGISTRY_PORT_5000_TCP_ADDR", "10.0.0.1"),
        ("REGISTRY_PORT", "tcp://10.0.0.1:5000"),
    ])
    .unwrap();
    assert_eq!(config.address, "[::]:5001");
    assert_eq!(config.root, Some(PathBuf::from("/srv/registry")));
    assert_eq!(config.log_level, LogLevel::Warn);
    assert_eq!(config.log_format, LogFormat::Json);
    assert!(!config.access_log);
    assert_eq!(config.drain_timeout, Duration::from_mins(5));
}

#[test]
fn mistakes_are_named_all_at_once() {
    let error = read(&[
        ("REGISTRY_HTTP_ADR", "x"),
        ("REGISTRY_HTTP_ADDR", "5000"),
        ("REGISTRY_PROXY_REMOTEURL", "https://registry-1.docker.io"),
        ("REGISTRY_HTTP_DRAINTIMEOUT", "5 minutes"),
    ])
    .unwrap_err();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 4, "{error}");
    assert_eq!(lines[0], "REGISTRY_HTTP_ADR is not a setting; did you mean REGISTRY_HTTP_ADDR?");
    assert!(lines[1].starts_with("REGISTRY_PROXY_REMOTEURL is not supported: "), "{error}");
    assert!(lines[2].starts_with("REGISTRY_HTTP_ADDR=\"5000\": must be host:port"), "{error}");
    assert!(lines[3].starts_with("REGISTRY_HTTP_DRAINTIMEOUT=\"5 minutes\""), "{error}");
}
