//! What errors of the HTTP client mean, for the component and for operators.

use hyper_util::client::legacy;
use rustls::CertificateError;
use std::error::Error as _;
use std::fmt::Write as _;
use std::io;
use wasmtime_wasi_http::Error;

/// The error for the component. An error of the connection says that nothing
/// was sent, so that the request can be retried.
pub(super) fn for_component(error: &legacy::Error) -> Error {
    if !error.is_connect() {
        return Error::ConnectionTerminated;
    }
    for cause in causes(error) {
        if cause.is::<rustls::Error>() {
            return Error::TlsCertificateError;
        }
        match cause.downcast_ref().map(io::Error::kind) {
            Some(io::ErrorKind::TimedOut) => return Error::ConnectionTimeout,
            Some(io::ErrorKind::ConnectionRefused) => return Error::ConnectionRefused,
            _ => {}
        }
    }
    Error::DestinationUnavailable
}

/// Whether the server's certificate is from a CA that is not trusted.
pub(super) fn is_unknown_issuer(error: &legacy::Error) -> bool {
    let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
    causes(error).any(|cause| cause.downcast_ref() == Some(&unknown))
}

/// The causes of an error. rustls's errors are inside I/O errors, which do not
/// return them as their source.
fn causes(error: &legacy::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |&cause| {
        match cause.downcast_ref().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => cause.source(),
        }
    })
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to text does not fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
