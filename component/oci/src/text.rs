//! Shared by the text types of this crate: the standard traits on top of
//! `parse` and `as_str`, and hexadecimal output.

/// Appends `bytes` in lower-case hexadecimal.
pub(super) fn push_hex(text: &mut String, bytes: &[u8]) {
    text.extend(
        bytes
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 0x0f])
            .filter_map(|nibble| char::from_digit(u32::from(nibble), 16)),
    );
}

/// Whether `byte` is a lower-case hexadecimal digit.
pub(super) const fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Implements `AsRef<str>`, `Display` and `FromStr` on top of `as_str` and
/// `parse`.
macro_rules! text_traits {
    ($type:ty, $error:ty) => {
        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
    };
}

/// Implements serde's traits as a string on top of `as_str` and `parse`.
macro_rules! text_serde {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(super) use {text_serde, text_traits};

#[cfg(test)]
mod tests {
    use super::{is_lower_hex, push_hex};

    #[test]
    fn hexadecimal_is_lower_case_and_two_digits_a_byte() {
        let mut text = String::from(":");
        push_hex(&mut text, &[0x00, 0x0f, 0xa0, 0xff]);
        assert_eq!(text, ":000fa0ff");
    }

    #[test]
    fn lower_hex_is_sixteen_bytes() {
        let all: Vec<u8> = (0..=u8::MAX).filter(|byte| is_lower_hex(*byte)).collect();
        assert_eq!(all, b"0123456789abcdef");
    }
}
