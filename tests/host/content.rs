//! Content of any size, generated block by block from a seed, so that it need not
//! be held in memory.

use bytes::Bytes;
use fastrand::Rng;
use hyper::body::{Body, Frame, SizeHint};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The size of a block in bytes.
const BLOCK: u64 = 256 * 1024;

/// Pseudo-random bytes.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    pub seed: u64,
    pub size: u64,
}

impl Content {
    /// The pieces of a part, in order.
    pub fn pieces(self, range: Range<u64>) -> impl Iterator<Item = Bytes> {
        assert!(range.end <= self.size, "{range:?} of {self:?}");
        let mut at = range.start;
        std::iter::from_fn(move || {
            let piece = self.piece(at, range.end);
            at += piece.len() as u64;
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// A part as one buffer; it must be small.
    pub fn part(self, range: Range<u64>) -> Bytes {
        let pieces: Vec<Bytes> = self.pieces(range).collect();
        pieces.concat().into()
    }

    /// Everything as one buffer; it must be small.
    pub fn bytes(self) -> Bytes {
        self.part(0..self.size)
    }

    pub fn digest(self) -> String {
        let mut hash = Hash::default();
        for piece in self.pieces(0..self.size) {
            hash.add(&piece);
        }
        hash.digest()
    }

    /// The rest of the block at `at`, up to `end`.
    fn piece(self, at: u64, end: u64) -> Bytes {
        let index = at / BLOCK;
        let start = index * BLOCK;
        let end = end.min(start + BLOCK);
        if at >= end {
            return Bytes::new();
        }
        let seed = self.seed ^ (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut block = vec![0; usize::try_from(BLOCK).unwrap()];
        Rng::with_seed(seed).fill(&mut block);
        let part = usize::try_from(at - start).unwrap()..usize::try_from(end - start).unwrap();
        Bytes::from(block).slice(part)
    }
}

/// A digest computed from pieces.
#[derive(Default)]
pub struct Hash(Sha256);

impl Hash {
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn digest(self) -> String {
        let mut digest = "sha256:".to_owned();
        for byte in self.0.finalize() {
            // Writing to a String cannot fail.
            let _ = write!(digest, "{byte:02x}");
        }
        digest
    }
}

/// A part of some content as a request's body.
pub struct Upload {
    content: Content,
    range: Range<u64>,
    length: Length,
    /// Ends with an error, which an HTTP/2 peer sees as a stream reset.
    cut: bool,
}

/// How the end of a body is marked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Length {
    /// By `Content-Length`.
    Announced,
    /// By the last chunk of the chunked transfer encoding.
    Unknown,
}

impl Upload {
    pub fn new(content: Content, range: Range<u64>, length: Length) -> Self {
        Self { content, range, length, cut: false }
    }

    pub fn empty() -> Self {
        Self::new(Content { seed: 0, size: 0 }, 0..0, Length::Announced)
    }

    pub fn cut(content: Content, range: Range<u64>) -> Self {
        Self { content, range, length: Length::Unknown, cut: true }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = self.content.piece(self.range.start, self.range.end);
        self.range.start += piece.len() as u64;
        Poll::Ready(if !piece.is_empty() {
            Some(Ok(Frame::data(piece)))
        } else if self.cut {
            Some(Err(io::Error::other("cut off, as the test wants it")))
        } else {
            None
        })
    }

    fn is_end_stream(&self) -> bool {
        self.range.is_empty() && !self.cut
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Length::Announced => SizeHint::with_exact(self.range.end - self.range.start),
            Length::Unknown => SizeHint::new(),
        }
    }
}
