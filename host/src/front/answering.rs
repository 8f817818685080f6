//! Requests that the component answers, whether or not their clients wait.

use futures::future::BoxFuture;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::runtime::Handle;

/// An answer of the component, and what its request holds meanwhile.
///
/// The component goes on when a client has gone, as after a reset of HTTP/2. So does
/// this, in a task of its own: else a client that resets its requests could have any
/// number of them in the component.
pub(super) struct Answering<T: Send + 'static, H: Send + 'static> {
    /// `None` once it is there.
    answer: Option<BoxFuture<'static, T>>,
    held: Option<H>,
}

impl<T: Send + 'static, H: Send + 'static> Answering<T, H> {
    /// Holds `held` until this is dropped and `answer` is there.
    pub(super) fn new(answer: impl Future<Output = T> + Send + 'static, held: H) -> Self {
        Self { answer: Some(Box::pin(answer)), held: Some(held) }
    }
}

impl<T: Send + 'static, H: Send + Unpin + 'static> Future for Answering<T, H> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(answer) = &mut self.answer else { return Poll::Pending };
        let answer = ready!(answer.as_mut().poll(context));
        self.answer = None;
        Poll::Ready(answer)
    }
}

impl<T: Send + 'static, H: Send + 'static> Drop for Answering<T, H> {
    fn drop(&mut self) {
        let Some(answer) = self.answer.take() else { return };
        let held = self.held.take();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                drop(answer.await);
                drop(held);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Answering;
    use futures::FutureExt as _;
    use std::sync::Arc;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_client_that_has_gone_holds_what_it_held() {
        let held = Arc::new(());
        let (sender, receiver) = oneshot::channel::<()>();
        let mut answering = Answering::new(receiver, Arc::clone(&held));
        assert!((&mut answering).now_or_never().is_none());
        drop(answering);
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&held), 2);
        sender.send(()).unwrap();
        while Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_answer_frees_what_was_held() {
        let held = Arc::new(());
        let mut answering = Answering::new(async { 7 }, Arc::clone(&held));
        assert_eq!((&mut answering).await, 7);
        drop(answering);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
