//! The program of an image, and the platform that it runs on.

use anyhow::{Context as _, bail, ensure};
use std::path::Path;

/// `ET_EXEC` and `ET_DYN`: programs, the second of which can be loaded anywhere.
const PROGRAM_TYPES: [u16; 2] = [2, 3];

/// `PT_INTERP`: the program needs a loader for shared libraries.
const INTERPRETER: u32 = 3;

/// What a program runs on. The system is Linux.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Platform {
    /// `x86_64`.
    Amd64,
    /// `aarch64`.
    Arm64,
}

impl Platform {
    /// The name that images have for it.
    pub const fn architecture(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

/// A program that needs no shared library, as an image without any has to have it.
#[derive(Clone, Debug)]
pub struct Program {
    platform: Platform,
    bytes: Vec<u8>,
}

impl Program {
    /// Reads a program.
    ///
    /// # Errors
    /// When the file cannot be read, or is no statically linked program for one of the
    /// [`Platform`]s.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
        Self::new(bytes).with_context(|| shown.to_string())
    }

    /// A program of these bytes.
    ///
    /// # Errors
    /// When they are no statically linked program for one of the [`Platform`]s.
    pub fn new(bytes: Vec<u8>) -> anyhow::Result<Self> {
        let platform = platform(&bytes)?;
        Ok(Self { platform, bytes })
    }

    /// What it runs on.
    pub fn platform(&self) -> Platform {
        self.platform
    }

    /// Its file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads an ELF file's header and program headers (System V ABI, chapters 4 and 5).
fn platform(bytes: &[u8]) -> anyhow::Result<Platform> {
    // Its magic number, 64 bits, little-endian.
    ensure!(bytes.starts_with(b"\x7fELF\x02\x01"), "not a program for a 64-bit Linux");
    let kind = number(bytes, 16, 2)?;
    ensure!(PROGRAM_TYPES.map(u64::from).contains(&kind), "not a program, but an object file");
    let platform = match number(bytes, 18, 2)? {
        62 => Platform::Amd64,
        183 => Platform::Arm64,
        other => {
            bail!("a program for a machine that images are not made for (ELF's number {other})")
        }
    };
    let (table, size) = (number(bytes, 32, 8)?, number(bytes, 54, 2)?);
    for entry in 0..number(bytes, 56, 2)? {
        let at = table.checked_add(entry * size).context("it is damaged")?;
        ensure!(
            number(bytes, usize::try_from(at)?, 4)? != u64::from(INTERPRETER),
            "it needs shared libraries, which the image does not have; link it statically"
        );
    }
    Ok(platform)
}

/// The little-endian number of `size` bytes at `offset`.
fn number(bytes: &[u8], offset: usize, size: usize) -> anyhow::Result<u64> {
    let end = offset.checked_add(size).context("it is damaged")?;
    let field = bytes.get(offset..end).context("it is cut short")?;
    Ok(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Platform, Program};

    /// A program with a program header of this type.
    pub(crate) fn elf(machine: u16, header: u32) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[16] = 3;
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes.extend(header.to_le_bytes());
        bytes.resize(64 + 56, 0);
        bytes
    }

    #[test]
    fn platforms_of_programs() {
        assert_eq!(Program::new(elf(62, 1)).unwrap().platform(), Platform::Amd64);
        assert_eq!(Program::new(elf(183, 1)).unwrap().platform(), Platform::Arm64);
    }

    #[test]
    fn what_an_image_cannot_run_is_refused() {
        let object = {
            let mut bytes = elf(62, 1);
            bytes[16] = 1;
            bytes
        };
        let far = {
            let mut bytes = elf(62, 1);
            bytes[32..40].fill(0xff);
            bytes
        };
        for (bytes, problem) in [
            (b"#!/bin/sh\n".to_vec(), "64-bit Linux"),
            (elf(62, 1)[..40].to_vec(), "cut short"),
            (object, "object file"),
            (elf(40, 1), "number 40"),
            (elf(62, 3), "link it statically"),
            (far, "damaged"),
        ] {
            let error = format!("{:#}", Program::new(bytes).unwrap_err());
            assert!(error.contains(problem), "{error}");
        }
    }
}
