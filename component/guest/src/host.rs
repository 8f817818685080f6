//! Requests to the services of the native host: see [`roadstead_bridge`].

use crate::wasip3;
use http::HeaderName;
use roadstead_bridge::trace;
use wasip3::http::types::{Fields, Method, Request, Response, Scheme};
use wasip3::wit_bindgen::StreamReader;
use wasip3::wit_future;

/// Sends a message in a header, and maybe bytes, to one of the bridge's
/// authorities.
pub(crate) async fn send(
    authority: &str,
    header: &HeaderName,
    message: Vec<u8>,
    contents: Option<StreamReader<u8>>,
) -> Result<Response, String> {
    let invalid = |what: &str| format!("request to the host: {what}");
    let mut headers = vec![(header.as_str().to_owned(), message)];
    if let Some(span) = trace::current() {
        headers.push((trace::SPAN.as_str().to_owned(), span.as_bytes().to_owned()));
    }
    let headers = Fields::from_list(&headers).map_err(|error| invalid(&format!("{error:?}")))?;
    let (no_trailers, trailers) = wit_future::new(|| Ok(None));
    drop(no_trailers);
    let (request, _transmission) = Request::new(headers, contents, trailers, None);
    request.set_method(&Method::Put).map_err(|()| invalid("method"))?;
    request.set_scheme(Some(&Scheme::Http)).map_err(|()| invalid("scheme"))?;
    request.set_authority(Some(authority)).map_err(|()| invalid("authority"))?;
    request.set_path_with_query(Some("/")).map_err(|()| invalid("path"))?;
    let response = wasip3::http::client::send(request).await;
    response.map_err(|error| format!("the host's {authority} cannot be reached: {error:?}"))
}

/// A header of a response, with a single value.
pub(crate) fn header(response: &Response, name: &HeaderName) -> Option<Vec<u8>> {
    response.get_headers().get(name.as_str()).into_iter().next()
}
