//! Platforms: which images of an index are meant.

use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// A platform, as Docker writes it: `linux/arm64`, `linux/arm/v7`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Platform {
    /// The operating system.
    pub os: String,
    /// The architecture of the processor.
    pub architecture: String,
    /// The variant of that; none, if it is not said.
    pub variant: Option<String>,
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/').map(str::to_owned);
        let known = (parts.next(), parts.next(), parts.next(), parts.next());
        match known {
            (Some(os), Some(architecture), variant, None)
                if !os.is_empty() && !architecture.is_empty() =>
            {
                Ok(Self { os, architecture, variant })
            }
            _ => Err(format!("{text} is no platform: write it as linux/amd64 or linux/arm/v7")),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl Platform {
    /// What an entry of an index, or a configuration, says; none, if it says no platform.
    pub fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().filter(|it| !it.is_empty()).map(str::to_owned);
        Some(Self {
            os: text("os")?,
            architecture: text("architecture")?,
            variant: text("variant"),
        })
    }

    /// Whether an image for another is meant by this one. A variant that was not asked for may be
    /// any.
    pub fn means(&self, other: &Self) -> bool {
        self.os == other.os
            && self.architecture == other.architecture
            && (self.variant.is_none() || self.variant == other.variant)
    }
}
