//! The encoding of Protocol Buffers, as far as OTLP needs it
//! (<https://protobuf.dev/programming-guides/encoding/>): fields of four wire types, of
//! which those with the default value are left out.

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

/// Writes fields of a message.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// `uint32`, `uint64`, an enumeration.
    pub(crate) fn integer(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, VARINT);
            self.varint(value);
        }
    }

    pub(crate) fn fixed32(&mut self, field: u32, value: u32) {
        if value != 0 {
            self.tag(field, FIXED32);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(crate) fn fixed64(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, FIXED64);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// `bytes`, or `string` if it is UTF-8.
    pub(crate) fn bytes(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.present_bytes(field, value);
        }
    }

    /// The same for a member of a `oneof`, which is there even if it is the default.
    pub(crate) fn present_bytes(&mut self, field: u32, value: &[u8]) {
        self.tag(field, LENGTH);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// An integer or boolean that is a member of a `oneof`.
    pub(crate) fn present_integer(&mut self, field: u32, value: u64) {
        self.tag(field, VARINT);
        self.varint(value);
    }

    /// A message, which may be empty.
    pub(crate) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.tag(field, LENGTH);
        // Most messages are short: their length is written into one byte that is kept for it.
        let start = self.0.len();
        self.0.push(0);
        write(self);
        let length = self.0.len() - start - 1;
        if let Some(short) = u8::try_from(length).ok().filter(|&length| length < 0x80) {
            self.0[start] = short;
            return;
        }
        let mut prefix = Self::default();
        prefix.varint(length as u64);
        self.0.splice(start..=start, prefix.0);
    }

    fn tag(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }
}

/// A field of a message that is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Field<'a> {
    /// Of the wire types varint, 64 and 32 bits.
    Integer(u64),
    /// Text, bytes, or a message.
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    pub(crate) fn integer(self) -> Option<u64> {
        match self {
            Self::Integer(value) => Some(value),
            Self::Bytes(_) => None,
        }
    }

    pub(crate) fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Integer(_) => None,
            Self::Bytes(bytes) => Some(bytes),
        }
    }
}

/// Reads the fields of a message. Ends at the first that is not valid.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// The last field with a number, which is the one that counts.
    pub(crate) fn get(&self, number: u32) -> Option<Field<'a>> {
        self.clone().filter(|field| field.0 == number).last().map(|field| field.1)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u32, Field<'a>)> {
        let tag = u32::try_from(self.varint()?).ok()?;
        let field = match tag & 7 {
            VARINT => Field::Integer(self.varint()?),
            FIXED64 => Field::Integer(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            FIXED32 => Field::Integer(u32::from_le_bytes(self.take(4)?.try_into().ok()?).into()),
            LENGTH => {
                let length = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(length)?)
            }
            _ => return None,
        };
        Some((tag >> 3, field))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = (u32, Field<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let field = if self.0.is_empty() { None } else { self.field() };
        if field.is_none() {
            self.0 = &[];
        }
        field
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, Reader, Writer};

    /// The examples of the encoding's documentation, and the borders of lengths.
    #[test]
    fn as_others_write_it() {
        let written = |write: &dyn Fn(&mut Writer)| {
            let mut writer = Writer::default();
            write(&mut writer);
            writer.into_bytes()
        };
        assert_eq!(written(&|w| w.integer(1, 150)), [0x08, 0x96, 0x01]);
        assert_eq!(written(&|w| w.bytes(2, b"testing")), *b"\x12\x07testing");
        assert_eq!(
            written(&|w| w.message(3, |w| w.integer(1, 150))),
            [0x1a, 0x03, 0x08, 0x96, 0x01]
        );
        assert_eq!(written(&|w| w.fixed32(16, 0x0102_0304)), [0x85, 0x01, 4, 3, 2, 1]);
        assert_eq!(written(&|w| w.fixed64(7, 1)), [0x39, 1, 0, 0, 0, 0, 0, 0, 0]);
        let minus_one = [0x18, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        assert_eq!(written(&|w| w.present_integer(3, u64::MAX)), minus_one);
        let empty: [u8; 0] = [];
        assert_eq!(written(&|w| w.integer(1, 0)), empty);
        assert_eq!(written(&|w| w.bytes(1, b"")), empty);
        assert_eq!(written(&|w| w.present_bytes(1, b"")), [0x0a, 0]);
        assert_eq!(written(&|w| w.message(1, |_| ())), [0x0a, 0]);
        for length in [0, 1, 125, 126, 127, 128, 16_382, 16_383, 16_384, 300_000] {
            let value = vec![7; length];
            let bytes = written(&|w| w.message(5, |w| w.present_bytes(1, &value)));
            let outer = Reader::new(&bytes).get(5).and_then(Field::bytes).unwrap();
            assert_eq!(Reader::new(outer).get(1), Some(Field::Bytes(&value)), "{length}");
        }
    }

    #[test]
    fn what_is_no_message() {
        let rows: [(&[u8], usize); 8] = [
            (&[], 0),
            (&[0x08], 0),
            (&[0x08, 0x96], 0),
            // Longer than the message.
            (&[0x12, 0x07, b't'], 0),
            (&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], 0),
            // A varint without an end.
            (&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], 0),
            // Groups are not read; what came before them is.
            (&[0x08, 1, 0x0b], 1),
            (&[0x08, 1, 0x10, 2], 2),
        ];
        for (bytes, fields) in rows {
            assert_eq!(Reader::new(bytes).count(), fields, "{bytes:?}");
        }
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..random.usize(..40)).map(|_| random.u8(..)).collect();
            assert!(Reader::new(&bytes).count() <= bytes.len());
        }
    }
}
