//! Why a command did not do something, and the exit status that says so.

/// The exit statuses.
pub(crate) mod status {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const MISSING: u8 = 3;
}

/// Why a command did not do something, in words for whoever runs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Problem {
    /// The command line is wrong, or the login is incomplete.
    Usage(String),
    /// What was asked for is not there.
    Missing(String),
    /// Anything else.
    Failed(String),
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Problem {
    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => status::USAGE,
            Self::Missing(_) => status::MISSING,
            Self::Failed(_) => status::FAILED,
        }
    }

    /// The words.
    pub(crate) fn text(&self) -> &str {
        let (Self::Usage(text) | Self::Missing(text) | Self::Failed(text)) = self;
        text
    }

    /// The same of something, such as the reference that was asked for.
    pub(crate) fn of(self, what: &str) -> Self {
        match self {
            Self::Usage(text) => Self::Usage(format!("{what}: {text}")),
            Self::Missing(text) => Self::Missing(format!("{what}: {text}")),
            Self::Failed(text) => Self::Failed(format!("{what}: {text}")),
        }
    }
}
