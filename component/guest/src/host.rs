//! Requests to the native host, which answers them itself.

use wasip3::http::types::{Fields, Method, Request, Response, Scheme};
use wasip3::wit_bindgen::StreamReader;
use wasip3::wit_future;

/// Sends what a header says, and maybe bytes, to an authority that leads to
/// no network.
pub(super) async fn send(
    authority: &str,
    header: &str,
    value: Vec<u8>,
    contents: Option<StreamReader<u8>>,
) -> Result<Response, String> {
    let invalid = |what: &str| format!("request to the host: {what}");
    let headers = Fields::from_list(&[(header.to_owned(), value)])
        .map_err(|error| invalid(&format!("{error:?}")))?;
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
