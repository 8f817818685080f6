//! The error responses that the host gives in place of the component.

use crate::body::full;
use bytes::Bytes;
use http::header::HeaderValue;
use http::{Response, StatusCode, header};
use roadstead_oci::ErrorCode;
use wasmtime_wasi_http::WasiBody;

/// When a client that was refused for load should retry, in seconds.
const RETRY_AFTER: &str = "5";

/// 503: more requests wait than the settings allow at a time.
pub(crate) fn busy() -> Response<WasiBody> {
    let mut response = error(
        StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Unavailable,
        "the registry is busy; try again",
    );
    let retry = HeaderValue::from_static(RETRY_AFTER);
    response.headers_mut().insert(header::RETRY_AFTER, retry);
    response
}

/// 500: something failed, and was logged.
pub(crate) fn internal() -> Response<WasiBody> {
    error(
        StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::Unknown,
        "the registry failed; its log has the cause",
    )
}

fn error(status: StatusCode, code: ErrorCode, message: &str) -> Response<WasiBody> {
    let error = serde_json::json!({ "errors": [{ "code": code.as_str(), "message": message }] });
    let mut response = Response::new(full(Bytes::from(error.to_string())));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
