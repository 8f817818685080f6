//! The span of a request: how what the component asks for is joined to the request that it
//! answers.
//!
//! A native host sets [`SPAN`] in a request whose trace is sampled, and in no other. The
//! component sets it to the same value in all requests that it sends while it answers this
//! one: to the authorities of the bridge, and to an object store, before which the host
//! removes it. The value is the host's own; the component does not look into it.
//!
//! An instance answers several requests at once, on one thread, and each is one future. The
//! span of a request is [current] for as long as its future is polled: whatever it sends, it
//! sends then.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;

/// The header. Its name begins with [`PREFIX`](crate::client::PREFIX), so the host removes it
/// from what clients send.
pub const SPAN: HeaderName = HeaderName::from_static("x-roadstead-span");

thread_local! {
    static CURRENT: RefCell<Option<HeaderValue>> = const { RefCell::new(None) };
}

/// The span of a request; the header is removed.
pub fn take(headers: &mut HeaderMap) -> Option<HeaderValue> {
    headers.remove(SPAN)
}

/// Does the work of a request with this span. A task of its own, which the work spawns, has
/// none, unless it is given that of [`current`].
pub async fn within<T>(span: Option<HeaderValue>, work: impl Future<Output = T>) -> T {
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
pub fn current() -> Option<HeaderValue> {
    CURRENT.with_borrow(Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::{SPAN, current, take, within};
    use http::{HeaderMap, HeaderValue};
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Does not end in its first poll.
    async fn pause() {
        let mut polled = false;
        poll_fn(
            |_| {
                if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
            },
        )
        .await;
    }

    /// What it sees before and after pauses.
    async fn seen() -> Vec<Option<HeaderValue>> {
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(current());
            pause().await;
        }
        seen
    }

    #[test]
    fn each_request_sees_its_own_span() {
        let span = |text| Some(HeaderValue::from_static(text));
        let mut first = pin!(within(span("1"), seen()));
        let mut second = pin!(within(span("2"), seen()));
        let mut none = pin!(within(None, seen()));
        let mut nested = pin!(within(span("outer"), async {
            let inner = within(span("inner"), seen()).await;
            (inner, current())
        }));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(first.as_mut().poll(&mut context).is_pending());
            assert!(none.as_mut().poll(&mut context).is_pending());
            assert!(second.as_mut().poll(&mut context).is_pending());
            assert!(nested.as_mut().poll(&mut context).is_pending());
            assert_eq!(current(), None);
        }
        assert_eq!(second.poll(&mut context), Poll::Ready(vec![span("2"); 3]));
        assert_eq!(first.poll(&mut context), Poll::Ready(vec![span("1"); 3]));
        assert_eq!(none.poll(&mut context), Poll::Ready(vec![None; 3]));
        let all = (vec![span("inner"); 3], span("outer"));
        assert_eq!(nested.poll(&mut context), Poll::Ready(all));
        assert_eq!(current(), None);
    }

    #[test]
    fn the_header_is_taken_out() {
        let mut headers = HeaderMap::new();
        assert_eq!(take(&mut headers), None);
        headers.insert(SPAN, HeaderValue::from_static("1"));
        assert_eq!(take(&mut headers), Some(HeaderValue::from_static("1")));
        assert!(headers.is_empty());
    }
}
