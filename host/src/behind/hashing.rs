//! Hashes bytes in transit, for a component that forwards them itself.
//!
//! With an object store, an upload's bytes go through the component, which
//! splits them into parts; hashing them there would cost several times as much
//! as here. [`roadstead_bridge::hashing`] describes the messages.

use crate::body::empty;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use roadstead_bridge::hashing::{COMPLETE, STATE};
use roadstead_storage::hash_state;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use wasmtime_wasi_http::WasiBody;

/// The most pieces of a body that are hashed ahead of the reader.
///
/// Limit: pieces of a body that are hashed ahead of its reader; test:
/// `bytes_are_hashed_on_their_way`.
const AHEAD: usize = 2;

/// Responds with the request's body, hashed.
pub(crate) fn respond(request: Request<WasiBody>) -> Response<WasiBody> {
    let state = request.headers().get(STATE);
    let state = state.and_then(|state| hash_state::parse(state.to_str().ok()?));
    let Some(sha256) = state else {
        tracing::error!("the component asked for a hash without an initial state");
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    // A task of its own, so that the reader does not wait for the hash of more.
    tokio::spawn(pass(request.into_body(), sha256, sender));
    let frames = stream::poll_fn(move |context| receiver.poll_recv(context));
    Response::new(StreamBody::new(frames.map(Ok)).boxed_unsync())
}

/// Forwards a body, unless the reader stops reading.
async fn pass(mut body: WasiBody, mut sha256: Sha256, sender: mpsc::Sender<Frame<Bytes>>) {
    let whole = loop {
        match body.frame().await {
            Some(Ok(frame)) => {
                let Ok(bytes) = frame.into_data() else { continue };
                sha256.update(&bytes);
                if sender.send(Frame::data(bytes)).await.is_err() {
                    return;
                }
            }
            Some(Err(error)) => {
                tracing::debug!("an upload ended early: {error}");
                break false;
            }
            None => break true,
        }
    };
    let mut trailers = HeaderMap::new();
    if let Ok(state) = HeaderValue::from_str(&hash_state::print(&sha256)) {
        trailers.insert(STATE, state);
    }
    trailers.insert(COMPLETE, HeaderValue::from_static(if whole { "true" } else { "false" }));
    let _ = sender.send(Frame::trailers(trailers)).await;
}

#[cfg(test)]
mod tests {
    use super::respond;
    use bytes::Bytes;
    use http::Request;
    use http_body::Frame;
    use http_body_util::{BodyExt as _, StreamBody};
    use roadstead_bridge::hashing::{COMPLETE, STATE};
    use roadstead_storage::hash_state;
    use sha2::{Digest as _, Sha256};
    use wasmtime_wasi_http::{Error, WasiBody};

    fn body(frames: Vec<Result<&'static [u8], Error>>) -> WasiBody {
        let frames = frames.into_iter().map(|frame| frame.map(Bytes::from_static).map(Frame::data));
        StreamBody::new(futures::stream::iter(frames)).boxed_unsync()
    }

    /// The result of a body that follows `one `: the bytes, the digest of all,
    /// and whether they are complete.
    async fn pass(frames: Vec<Result<&'static [u8], Error>>) -> (Bytes, Vec<u8>, String) {
        let state = hash_state::print(&Sha256::new_with_prefix("one "));
        let request = Request::put("/").header(STATE, state).body(body(frames)).unwrap();
        let collected = respond(request).into_body().collect().await.unwrap();
        let trailers = collected.trailers().unwrap();
        let said = |name: &http::HeaderName| trailers[name].to_str().unwrap().to_owned();
        let (state, whole) = (said(&STATE), said(&COMPLETE));
        let digest = hash_state::parse(&state).unwrap().finalize().to_vec();
        (collected.to_bytes(), digest, whole)
    }

    #[tokio::test]
    async fn bytes_are_hashed_on_their_way() {
        let (bytes, digest, whole) = pass(vec![Ok(b"two "), Ok(b"three")]).await;
        assert_eq!((&*bytes, &*whole), (&b"two three"[..], "true"));
        assert_eq!(digest, Sha256::digest("one two three").to_vec());
    }

    #[tokio::test]
    async fn what_breaks_off_is_said_to() {
        let (bytes, digest, whole) = pass(vec![Ok(b"two"), Err(Error::ConnectionTerminated)]).await;
        assert_eq!((&*bytes, &*whole), (&b"two"[..], "false"));
        assert_eq!(digest, Sha256::digest("one two").to_vec());
    }

    #[tokio::test]
    async fn without_a_state_there_is_no_hash() {
        let request = Request::put("/").body(body(vec![Ok(b"two")])).unwrap();
        assert_eq!(respond(request).status(), 400);
    }
}
