//! The HTTP client of object_store: its requests to an object store.

use crate::body::Upload;
use crate::credentials;
use crate::request::{self, nanoseconds};
use crate::wasip3;
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, Stream, StreamExt as _};
use http_body::Frame;
use http_body_util::StreamBody;
use object_store::client::{
    HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use roadstead_bridge::Services;
use roadstead_buckets::{Clock, OpenBucket};
use roadstead_config::Cloud;
use roadstead_storage::{Aborted, ChunkedBody as _};
use send_wrapper::SendWrapper;
use std::time::Duration;
use wasip3::clocks::monotonic_clock;
use wasip3::http::types::Response;
use wasip3::wit_bindgen::StreamReader;
use wasip3::wit_stream;

/// The object store of the settings, on a host with these services.
pub(crate) fn open(cloud: &Cloud, services: Services) -> Result<OpenBucket, String> {
    let credentials = credentials::choose(cloud, services)?;
    roadstead_buckets::open(cloud, Outbound, WasiClock, credentials.as_ref())
}

/// Waits by the host's clock.
#[derive(Clone, Debug)]
pub(crate) struct WasiClock;

impl Clock for WasiClock {
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(SendWrapper::new(monotonic_clock::wait_for(nanoseconds(time))))
    }
}

/// Lets `time` pass.
pub(crate) async fn pause(time: Duration) {
    monotonic_clock::wait_for(nanoseconds(time)).await;
}

/// Sends object_store's requests.
#[derive(Clone, Debug)]
pub(crate) struct Outbound;

#[async_trait]
impl HttpService for Outbound {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // There is only one thread.
        SendWrapper::new(async move {
            let (parts, body) = request.into_parts();
            let length = body.content_length();
            let contents = (length > 0).then(|| contents(body));
            let response = request::send(parts, contents, length as u64).await?;
            incoming(response)
        })
        .await
    }
}

/// A body's pieces as a stream.
fn contents(body: HttpRequestBody) -> StreamReader<u8> {
    let (mut writer, reader) = wit_stream::new();
    wasip3::spawn(async move {
        let mut body = body;
        while let Some(Ok(frame)) = http_body_util::BodyExt::frame(&mut body).await {
            let Ok(piece) = frame.into_data() else { continue };
            // A store that stops reading has already responded.
            if !writer.write_all(piece.into()).await.is_empty() {
                return;
            }
        }
    });
    reader
}

fn incoming(response: Response) -> Result<HttpResponse, HttpError> {
    let head = request::head(&response)?;
    // object_store asks an empty body once more after its end.
    let pieces = SendWrapper::new(Box::pin(pieces(Upload::of_response(response)).fuse()));
    Ok(head.map(|()| HttpResponseBody::new(StreamBody::new(pieces))))
}

/// A response's body, which ends with an error if it ended early.
fn pieces(body: Upload) -> impl Stream<Item = Result<Frame<Bytes>, HttpError>> {
    stream::unfold(Some(body), |body| async move {
        let mut body = body?;
        match body.chunk().await {
            Ok(Some(piece)) => Some((Ok(Frame::data(piece)), Some(body))),
            Ok(None) => None,
            Err(Aborted) => {
                let error = request::failed(HttpErrorKind::Interrupted, "the response ended early");
                Some((Err(error), None))
            }
        }
    })
}
