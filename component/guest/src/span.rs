//! The span of the request that is being answered: see [`roadstead_bridge::trace`].
//!
//! An instance answers several requests at once, on one thread, and each is one future. The
//! span of a request is known for as long as its future is polled: whatever it sends, it
//! sends then. Tasks of their own, which only copy bytes, have none.

use http::HeaderValue;
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;

thread_local! {
    static CURRENT: RefCell<Option<HeaderValue>> = const { RefCell::new(None) };
}

/// Does the work of a request with this span.
pub(crate) async fn within<T>(span: Option<HeaderValue>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        let Some(span) = &span else { return work.as_mut().poll(context) };
        let outer = CURRENT.replace(Some(span.clone()));
        let polled = work.as_mut().poll(context);
        CURRENT.replace(outer);
        polled
    })
    .await
}

/// The span of the request that is being answered.
pub(crate) fn current() -> Option<HeaderValue> {
    CURRENT.with_borrow(Clone::clone)
}
