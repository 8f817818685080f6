//! HTTP/2 frame by frame, for what no client library sends.

use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// The setting of a stream's initial window.
pub const INITIAL_WINDOW_SIZE: u16 = 4;

/// The largest window, in bytes.
pub const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// The initial window of a connection, in bytes.
const FIRST_WINDOW: u32 = 65_535;

/// A connection that speaks HTTP/2.
pub struct Frames<S = TcpStream> {
    stream: S,
    last: u32,
}

/// A frame.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
}

/// A connection of plain TCP from an address of this machine.
pub async fn connect_from(from: IpAddr, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let stream = socket.connect(address.parse().unwrap()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

impl Frames {
    /// Connects from an address of this machine.
    pub async fn connect(from: IpAddr, address: &str, settings: &[(u16, u32)]) -> Self {
        Self::begin(connect_from(from, address).await, settings).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// Sends the preface and settings.
    pub async fn begin(stream: S, settings: &[(u16, u32)]) -> Self {
        let mut frames = Self { stream, last: 0 };
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
            .collect();
        frames.bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        frames.frame(SETTINGS, 0, 0, &payload).await;
        frames
    }

    /// Makes the connection's window the largest there is.
    pub async fn widen(&mut self) {
        let more = (LARGEST_WINDOW - FIRST_WINDOW).to_be_bytes();
        self.frame(WINDOW_UPDATE, 0, 0, &more).await;
    }

    /// Starts a request such as `GET /v2/`, without a body if it is `whole`.
    pub async fn open(&mut self, line: &str, headers: &[(&str, &str)], whole: bool) -> u32 {
        let stream = self.next_stream();
        let flags = if whole { END_STREAM | END_HEADERS } else { END_HEADERS };
        self.frame(HEADERS, flags, stream, &block(line, headers)).await;
        stream
    }

    /// The number of the next stream.
    pub fn next_stream(&mut self) -> u32 {
        self.last = if self.last == 0 { 1 } else { self.last + 2 };
        self.last
    }

    /// Sends a frame; whether the server still takes any.
    pub async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags];
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        self.bytes(&bytes).await
    }

    /// The next frame; `None` if the server closed the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some(Frame { kind: head[3], flags: head[4] })
    }

    /// Reads until a number of frames of a kind came, or the server closed the
    /// connection. Returns how many came.
    pub async fn count(&mut self, kind: u8, most: usize) -> usize {
        let mut count = 0;
        while count < most
            && let Some(frame) = self.next().await
        {
            count += usize::from(frame.kind == kind);
        }
        count
    }

    /// Reads until so many streams have ended, or the server closed the connection.
    pub async fn ended(&mut self, mut streams: usize) {
        while streams > 0
            && let Some(frame) = self.next().await
        {
            let last = matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM > 0;
            streams -= usize::from(last || frame.kind == RST_STREAM);
        }
    }

    /// Whether the server has closed the connection, of which nothing is read.
    pub async fn is_closed(&mut self) -> bool {
        // Depends on nothing, and has no effect.
        !self.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 15]).await
    }

    /// Reads until the server closes the connection.
    pub async fn closed(&mut self) {
        while self.next().await.is_some() {}
    }

    async fn bytes(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }
}

/// A block of headers, as literals that nothing is remembered of.
pub fn block(line: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let (method, path) = line.split_once(' ').unwrap();
    let own = [
        (":method", method),
        (":path", path),
        (":scheme", "http"),
        (":authority", "registry.test"),
    ];
    own.iter().chain(headers).flat_map(|(name, value)| literal(0, name, value)).collect()
}

/// A header as a literal; by the prefix 0x40, it is remembered.
pub fn literal(prefix: u8, name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![prefix];
    for text in [name, value] {
        bytes.extend(integer(text.len()));
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// An integer with a prefix of 7 bits (RFC 7541, section 5.1).
fn integer(number: usize) -> Vec<u8> {
    const MOST: usize = 127;
    if number < MOST {
        return vec![u8::try_from(number).unwrap()];
    }
    let (mut bytes, mut rest) = (vec![127], number - MOST);
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}
