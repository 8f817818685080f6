//! Running what is asynchronous.

use std::io;
use tokio::runtime::Builder;

/// Does something on a runtime of its own.
///
/// # Errors
/// When there can be none.
pub fn block_on<T>(mut builder: Builder, work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = builder.enable_all().build()?;
    let result = runtime.block_on(work);
    // Does not wait for a name server that does not answer.
    runtime.shutdown_background();
    Ok(result)
}
