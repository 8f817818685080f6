//! Whether a registry can serve.

/// The path at which whoever serves says that it does.
pub const LIVE: &str = "/livez";

/// The path at which the component says whether its storage can be read. A native host asks it from
/// time to time, and answers clients by what it has last been told.
pub const READY: &str = "/readyz";
