//! What keeps an extension's failure within the one request that it was asked for.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use super::error::Error;

/// An answer, within this time and whatever it does: a panic ends it and nothing else.
pub(super) async fn asked<T>(
    limit: Duration,
    mut answer: Pin<Box<dyn Future<Output = Result<T, Error>> + Send + '_>>,
) -> Result<T, Error> {
    // What it had begun is dropped, so nobody sees it half done.
    let guarded =
        poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(answer)) => Poll::Ready(answer),
            Err(_) => Poll::Ready(Err(Error::new(PANICKED))),
        });
    tokio::time::timeout(limit, guarded)
        .await
        .unwrap_or_else(|_| Err(Error::new(format!("no answer within {limit:?}"))))
}

/// The same for what answers at once.
pub(super) fn called<T>(call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(Error::new(PANICKED)))
}

/// What it says may hold anything, so it goes to the panic hook alone.
pub(super) const PANICKED: &str = "it panicked";
