//! The state of an unfinished SHA-256 hash as text, so that another request or
//! process can continue it.

use sha2::Sha256;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use std::fmt::Write as _;

/// Size of a serialised SHA-256 state, in bytes; as text it has two digits for
/// each.
pub const SHA256_STATE_LENGTH: usize = size_of::<SerializedState<Sha256>>();

/// Prints a state in hexadecimal digits.
pub fn print(sha256: &Sha256) -> String {
    let mut text = String::with_capacity(SHA256_STATE_LENGTH * 2);
    for byte in sha256.serialize() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Reads what [`print()`] printed.
pub fn parse(text: &str) -> Option<Sha256> {
    if text.len() != SHA256_STATE_LENGTH * 2 {
        return None;
    }
    let mut bytes = SerializedState::<Sha256>::default();
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(i * 2..i * 2 + 2)?, 16).ok()?;
    }
    Sha256::deserialize(&bytes).ok()
}
