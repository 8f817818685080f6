//! Bodies as WASI streams.

use crate::request::nanoseconds;
use crate::{host, outbound, request, wasip3};
use bytes::Bytes;
use futures::future::{Either, select};
use futures::stream::{BoxStream, StreamExt as _};
use http::StatusCode;
use http::request::Parts;
use object_store::client::HttpErrorKind;
use roadstead_bridge::{hashing, log, trace};
use roadstead_buckets::is_unavailable;
use roadstead_storage::{
    Aborted, Bodies, BodyError, ChunkedBody, DRAIN_LIMIT, RequestBody, StorageError, hash_state,
};
use sha2::Sha256;
use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;
use wasip3::clocks::monotonic_clock;
use wasip3::http::types::{ErrorCode, Request, Response, Trailers};
use wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult};
use wasip3::{wit_future, wit_stream};

/// Bytes read from a stream at a time, where the guest reads at all.
pub(crate) const CHUNK: usize = 64 * 1024;

/// How long to wait for whether a body ended early, after passing it on failed,
/// in nanoseconds.
///
/// Limit: nanoseconds to wait for how a body ended; test: none, only a failing host
/// waits.
const END_TIME: u64 = 1_000_000_000;

/// Maximum size of the response to a body that was passed on, in bytes.
///
/// Limit: bytes of the host's response to a body; test: none, it is the host's own.
const ANSWER_LIMIT: usize = 64 * 1024;

/// The bytes that a body which is collected must bring in each stall timeout,
/// unless it ends. It holds one of the registry's turns meanwhile.
///
/// Limit: least bytes of a form or manifest in each stall timeout; test: `a_form_that_trickles_is_refused`; setting: `REGISTRY_HTTP_STALLTIMEOUT`.
const COLLECT_LEAST: u64 = 64 * 1024;

/// How long after the stall timeout bytes may still appear that had arrived, in
/// nanoseconds: the process may have been suspended.
///
/// Limit: time that a body gets after a stall, for bytes that had arrived; test: none, it would take as long.
const COLLECT_GRACE: u64 = 5 * 1_000_000_000;

/// A message's body, unread or read in part.
pub(crate) struct Upload {
    /// `None` once it has ended.
    stream: Option<StreamReader<u8>>,
    end: End,
    /// The length that the sender announced.
    length: Option<u64>,
    /// Reports to the host how the body was received. Dropping it would end the
    /// body.
    received: FutureWriter<Result<(), ErrorCode>>,
    /// For a body that the host hashes: the original body.
    hashed: Option<Hashed>,
}

struct Hashed {
    _end: End,
    _received: FutureWriter<Result<(), ErrorCode>>,
    sha256: Option<Sha256>,
}

thread_local! {
    /// Whether the host hashes bodies.
    static HOST_HASHING: Cell<bool> = const { Cell::new(false) };
    /// Whether a native host drains what is not read of a body.
    static HOST_DRAINS: Cell<bool> = const { Cell::new(false) };
    /// How long a client may stall, in nanoseconds.
    static STALL_TIME: Cell<u64> = const { Cell::new(60_000_000_000) };
}

/// Says how long a client may take to send [`COLLECT_LEAST`] bytes of a body that
/// is collected.
pub(crate) fn set_stall_timeout(time: Duration) {
    STALL_TIME.set(nanoseconds(time));
}

/// Says whether a native host is in front, which drains bodies itself: a request
/// that has been answered takes up nothing of an instance.
pub(crate) fn set_host_drains(drains: bool) {
    HOST_DRAINS.set(drains);
}

/// Whether a native host is in front.
pub(crate) fn host_drains() -> bool {
    HOST_DRAINS.get()
}

/// Ends when a body has brought less than [`COLLECT_LEAST`] bytes in the stall
/// timeout. `received` counts its bytes.
async fn too_slow(received: &Cell<u64>) {
    loop {
        let before = received.get();
        monotonic_clock::wait_for(STALL_TIME.get()).await;
        if received.get() - before < COLLECT_LEAST {
            monotonic_clock::wait_for(COLLECT_GRACE).await;
        }
        if received.get() - before < COLLECT_LEAST {
            return;
        }
    }
}

/// Says whether the host hashes bodies; see [`roadstead_bridge::hashing`].
pub(crate) fn set_host_hashing(hashing: bool) {
    HOST_HASHING.set(hashing);
}

/// What is known of a body's end.
enum End {
    Ahead(FutureReader<Result<Option<Trailers>, ErrorCode>>),
    Whole,
    BrokenOff,
}

impl Upload {
    pub(crate) fn new(request: Request, length: Option<u64>) -> Self {
        let (received, result) = wit_future::new(|| Ok(()));
        let (stream, trailers) = Request::consume_body(request, result);
        Self { stream: Some(stream), end: End::Ahead(trailers), length, received, hashed: None }
    }

    pub(crate) fn of_response(response: Response) -> Self {
        let (received, result) = wit_future::new(|| Ok(()));
        let (stream, trailers) = Response::consume_body(response, result);
        let (stream, end) = (Some(stream), End::Ahead(trailers));
        Self { stream, end, length: None, received, hashed: None }
    }

    /// The stream, to be passed on, and the values that must be kept alive
    /// until it is used.
    pub(crate) fn into_stream(self) -> (StreamReader<u8>, impl Sized) {
        (self.stream.unwrap_or_else(|| stream(Vec::new())), (self.end, self.received))
    }

    /// Hands every chunk to `take` until it says to stop. `false` means that
    /// the body ended early.
    pub(crate) async fn for_each(mut self, mut take: impl FnMut(&[u8]) -> bool) -> bool {
        let mut buffer = Vec::with_capacity(CHUNK);
        while let Some(mut chunk) = self.read(buffer).await {
            if !take(&chunk) {
                return true;
            }
            chunk.clear();
            buffer = chunk;
        }
        self.ended_whole().await
    }

    /// The next bytes, in the buffer; `None` where the stream ends.
    async fn read(&mut self, mut buffer: Vec<u8>) -> Option<Vec<u8>> {
        loop {
            let (status, chunk) = self.stream.as_mut()?.read(buffer).await;
            if matches!(status, StreamResult::Dropped | StreamResult::Cancelled) {
                self.stream = None;
            }
            if !chunk.is_empty() {
                return Some(chunk);
            }
            buffer = chunk;
        }
    }

    /// Whether the stream, which has ended, is complete.
    ///
    /// A stream that ended early looks like a complete one; only the trailers
    /// tell them apart, so they are always awaited.
    async fn ended_whole(&mut self) -> bool {
        self.end = match std::mem::replace(&mut self.end, End::BrokenOff) {
            End::Ahead(trailers) => match (trailers.await, &mut self.hashed) {
                (Ok(trailers), Some(hashed)) => hashed.end(trailers.as_ref()),
                (Ok(_), None) => End::Whole,
                (Err(_), _) => End::BrokenOff,
            },
            known => known,
        };
        matches!(self.end, End::Whole)
    }
}

impl RequestBody for Upload {
    async fn collect(self, limit: usize) -> Result<Bytes, BodyError> {
        // What is announced is reserved at once: growing step by step would take
        // twice the memory.
        let announced = self.length.and_then(|length| usize::try_from(length).ok());
        let mut bytes = Vec::with_capacity(announced.unwrap_or_default().min(limit));
        let received = Cell::new(0);
        let drains = HOST_DRAINS.get();
        let whole = {
            let reading = pin!(self.for_each(|chunk| {
                let size = received.get() + chunk.len() as u64;
                received.set(size);
                let fits = bytes.len() + chunk.len() <= limit;
                if fits {
                    bytes.extend_from_slice(chunk);
                }
                fits || (!drains && size <= DRAIN_LIMIT)
            }));
            match select(reading, pin!(too_slow(&received))).await {
                Either::Left((whole, _)) => whole,
                Either::Right(_) => return Err(BodyError::TooSlow),
            }
        };
        if received.get() > bytes.len() as u64 {
            Err(BodyError::TooLarge)
        } else if whole {
            Ok(bytes.into())
        } else {
            Err(BodyError::Aborted)
        }
    }

    async fn drain(self) {
        if HOST_DRAINS.get() {
            return;
        }
        let mut size = 0;
        self.for_each(|chunk| {
            size += chunk.len() as u64;
            size <= DRAIN_LIMIT
        })
        .await;
    }
}

impl Hashed {
    /// The result in the host's trailers.
    fn end(&mut self, trailers: Option<&Trailers>) -> End {
        let value = |name: &http::HeaderName| {
            let value = trailers?.get(name.as_str()).into_iter().next()?;
            String::from_utf8(value).ok()
        };
        self.sha256 = value(&hashing::STATE).and_then(|state| hash_state::parse(&state));
        if value(&hashing::COMPLETE).as_deref() == Some("true") {
            End::Whole
        } else {
            End::BrokenOff
        }
    }
}

impl ChunkedBody for Upload {
    fn length(&self) -> Option<u64> {
        self.length
    }

    async fn begin_hash(&mut self, sha256: &Sha256) -> bool {
        if !HOST_HASHING.get() {
            return false;
        }
        let Some(stream) = self.stream.take() else { return false };
        let state = hash_state::print(sha256).into_bytes();
        match host::send(hashing::AUTHORITY, &hashing::STATE, state, Some(stream)).await {
            Ok(response) => {
                let by_host = Self::of_response(response);
                let before = std::mem::replace(self, Self { length: self.length, ..by_host });
                self.hashed =
                    Some(Hashed { _end: before.end, _received: before.received, sha256: None });
            }
            Err(error) => {
                eprintln!("{}", log::error(&error));
                self.end = End::BrokenOff;
            }
        }
        true
    }

    fn end_hash(&mut self) -> Option<Sha256> {
        self.hashed.take()?.sha256
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Aborted> {
        match self.read(Vec::with_capacity(CHUNK)).await {
            Some(chunk) => Ok(Some(chunk.into())),
            None if self.ended_whole().await => Ok(None),
            None => Err(Aborted),
        }
    }

    async fn pass_on(mut self, head: Parts) -> Result<(StatusCode, Bytes), StorageError> {
        let length = self.length.unwrap_or_default();
        let answer = match request::send(head, self.stream.take(), length).await {
            Ok(response) => response,
            Err(error) if request::fell_short(&error) => return Err(StorageError::Aborted),
            Err(error) => {
                // If the store closed the connection, the end of the body may
                // never arrive.
                let seen = monotonic_clock::wait_for(END_TIME);
                let broke_off = async { !self.ended_whole().await };
                let (broke_off, seen) = (pin!(broke_off), pin!(seen));
                return Err(match select(broke_off, seen).await {
                    Either::Left((true, _)) => StorageError::Aborted,
                    _ if is_unavailable(&error) => StorageError::Unavailable(error.to_string()),
                    _ => StorageError::Failed(error.to_string()),
                });
            }
        };
        let status = StatusCode::from_u16(answer.get_status_code())
            .map_err(|error| StorageError::Failed(error.to_string()))?;
        let text = Self::of_response(answer).collect(ANSWER_LIMIT).await;
        Ok((status, text.unwrap_or_default()))
    }
}

/// Bodies as WASI streams.
#[derive(Debug)]
pub(crate) enum GuestBodies {}

impl Bodies for GuestBodies {
    type Upload = Upload;
    type Download = StreamReader<u8>;

    fn download(mut bytes: BoxStream<'static, Result<Bytes, StorageError>>) -> StreamReader<u8> {
        let (mut writer, reader) = wit_stream::new();
        // It may send further requests to the store.
        wasip3::spawn(trace::within(trace::current(), async move {
            while let Some(piece) = bytes.next().await {
                let piece = match piece {
                    Ok(piece) => piece,
                    Err(error) => {
                        let text = format!("a download ended early: {error}");
                        return eprintln!("{}", log::error(&text));
                    }
                };
                // A reader that closes the stream needs no more bytes.
                if !writer.write_all(piece.into()).await.is_empty() {
                    return;
                }
            }
        }));
        reader
    }

    async fn pause(time: Duration) {
        outbound::pause(time).await;
    }

    async fn fetch(
        request: Parts,
    ) -> Result<Option<(http::response::Parts, StreamReader<u8>)>, StorageError> {
        let answer = match request::send(request, None, 0).await {
            Ok(answer) => answer,
            // Another attempt would take as long.
            Err(error) if error.kind() == HttpErrorKind::Timeout => {
                return Err(StorageError::Unavailable(error.to_string()));
            }
            Err(_) => return Ok(None),
        };
        let Ok(head) = request::head(&answer) else { return Ok(None) };
        let (head, ()) = head.into_parts();
        Ok(Some((head, Upload::of_response(answer).into_stream().0)))
    }
}

/// A stream of bytes in memory.
pub(crate) fn stream(bytes: Vec<u8>) -> StreamReader<u8> {
    let (mut writer, reader) = wit_stream::new();
    wasip3::spawn(async move {
        // A reader that closes the stream needs no more bytes.
        let _ = writer.write_all(bytes).await;
    });
    reader
}
