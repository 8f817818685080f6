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

/// 503: the storage does not answer, or the process is about to end.
pub(crate) fn not_ready(message: &'static str) -> Response<WasiBody> {
    error(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message)
}

/// Marks a response as the host's own.
#[derive(Clone, Copy)]
struct Own(ErrorCode, &'static str);

/// The response with the identifier of its request in its body, if it is the host's own.
pub(crate) fn identified(mut response: Response<WasiBody>, id: &HeaderValue) -> Response<WasiBody> {
    let Some(Own(code, message)) = response.extensions_mut().remove() else { return response };
    let detail = serde_json::json!({ "request": id.to_str().unwrap_or_default() });
    response.map(|_| body(code, message, Some(&detail)))
}

fn error(status: StatusCode, code: ErrorCode, message: &'static str) -> Response<WasiBody> {
    let mut response = Response::new(body(code, message, None));
    *response.status_mut() = status;
    response.extensions_mut().insert(Own(code, message));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn body(code: ErrorCode, message: &str, detail: Option<&serde_json::Value>) -> WasiBody {
    let mut error = serde_json::json!({ "code": code.as_str(), "message": message });
    if let Some(detail) = detail {
        error["detail"] = detail.clone();
    }
    full(Bytes::from(serde_json::json!({ "errors": [error] }).to_string()))
}
