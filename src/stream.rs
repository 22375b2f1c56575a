//! Streams: answers that may last for hours, and what they hang on.
//!
//! A WebSocket, a stream of events or a large transfer was allowed to somebody whose session or
//! token counted when it began. When that is over, the stream ends, within [`CHECK_OUTSIDE`] and
//! the time of one answer of the store. Pingora runs its phases when bytes pass and has no timer,
//! so a quiet stream would outlive everything; therefore a phase hands a watch to the future that
//! drives its request ([`end_after`]), which polls both ([`Endable`]) and drops the request when
//! the watch is over. That closes an HTTP/1 connection and resets an HTTP/2 stream, on both sides,
//! and leaves other streams of the connection alone.
//!
//! A stream is no activity of its session: without another request, the session's idle time-out
//! ends both.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header};

use crate::{
    refusal::{Reason, Refusal},
    session::Session,
    sessions::Sessions,
    time::Timestamp,
};

/// What a stream is, as metrics tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An upgraded connection (RFC 6455).
    WebSocket,
    /// `text/event-stream`.
    Events,
    /// `application/grpc`.
    Grpc,
    /// Any other body that is long, or whose length nobody knows.
    Transfer,
}

impl Kind {
    /// All of them, for the metric.
    pub const ALL: [Self; 4] = [Self::WebSocket, Self::Events, Self::Grpc, Self::Transfer];

    /// The word in the metric.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Events => "events",
            Self::Grpc => "grpc",
            Self::Transfer => "transfer",
        }
    }

    /// By the `Content-Type` of a request or a response.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is = |name: &[u8]| {
            content_type
                .and_then(|kind| kind.get(..name.len()))
                .is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        if is(b"text/event-stream") {
            Self::Events
        } else if is(b"application/grpc") {
            Self::Grpc
        } else {
            Self::Transfer
        }
    }
}

/// What a stream hangs on.
pub enum Tether {
    /// A browser's session.
    Session(Arc<Sessions>, Box<Session>),
    /// A token, which counts up to here.
    Token(Timestamp),
}

impl Tether {
    /// Waits until it does not hold any more; why.
    pub async fn broken(self) -> Refusal {
        match self {
            Self::Session(sessions, session) => session_over(&sessions, *session).await,
            Self::Token(ends) => token_over(ends).await,
        }
    }
}

async fn session_over(sessions: &Sessions, mut session: Session) -> Refusal {
    let _watched = sessions.watch(&session);
    let every = if sessions.are_outside() { CHECK_OUTSIDE } else { CHECK_HERE };
    let mut looks = Looks::default();
    loop {
        tokio::time::sleep(every).await;
        let found = sessions.recheck(&mut session, Timestamp::now()).await;
        if let Some(refusal) = looks.note(found) {
            return refusal;
        }
    }
}

/// Looks at a session, one after another.
#[derive(Default)]
struct Looks {
    /// In a row.
    unanswered: u32,
}

impl Looks {
    /// What the latest one means: a store that is away for a moment does not throw everybody out.
    fn note(&mut self, found: Result<(), Refusal>) -> Option<Refusal> {
        let Err(refusal) = found else {
            self.unanswered = 0;
            return None;
        };
        if refusal.reason == Reason::SessionUnavailable {
            self.unanswered += 1;
            return (self.unanswered >= MOST_UNANSWERED).then_some(refusal);
        }
        Some(refusal)
    }
}

async fn token_over(ends: Timestamp) -> Refusal {
    loop {
        let now = Timestamp::now();
        if now >= ends {
            return Refusal::new(Reason::CredentialExpired, "the token's time is over");
        }
        // Not all at once: the wall clock may be set.
        tokio::time::sleep(ends.since(now).min(CHECK_CLOCK)).await;
    }
}

/// Between two looks at a session that this process keeps.
const CHECK_HERE: Duration = Duration::from_secs(1);
/// Between two looks at a session that is kept elsewhere.
const CHECK_OUTSIDE: Duration = Duration::from_secs(3);
/// Looks without an answer after which a session counts as lost.
const MOST_UNANSWERED: u32 = 10;
const CHECK_CLOCK: Duration = Duration::from_secs(20);

type Watch = Pin<Box<dyn Future<Output = ()> + Send>>;

tokio::task_local! {
    /// What a phase hands to the future that drives it; read after each poll.
    static HANDED: Cell<Option<Watch>>;
}

/// Ends the present request as soon as `watch` is over. A second call takes the place of the
/// first. Outside of an [`Endable`], nothing happens.
pub fn end_after(watch: impl Future<Output = ()> + Send + 'static) {
    let _ = HANDED.try_with(|handed| handed.set(Some(Box::pin(watch))));
}

/// A request that a watch can end. Gives `None` when that happened; the request is dropped with
/// it.
pub struct Endable<F> {
    request: F,
    watch: Option<Watch>,
}

impl<F> Endable<F> {
    /// A request without a watch, so far.
    pub const fn new(request: F) -> Self {
        Self { request, watch: None }
    }
}

impl<F: Future + Unpin> Future for Endable<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (polled, handed) = HANDED.sync_scope(Cell::new(None), || {
            let polled = Pin::new(&mut this.request).poll(cx);
            (polled, HANDED.with(Cell::take))
        });
        if handed.is_some() {
            this.watch = handed;
        }
        match (polled, &mut this.watch) {
            (Poll::Ready(done), _) => Poll::Ready(Some(done)),
            (Poll::Pending, Some(watch)) => watch.as_mut().poll(cx).map(|()| None),
            (Poll::Pending, None) => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_watch_ends_its_request_and_no_other() {
        let request = async {
            tokio::task::yield_now().await;
            end_after(tokio::time::sleep(Duration::from_secs(5)));
            std::future::pending::<()>().await;
        };
        let began = tokio::time::Instant::now();
        let other = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            "done"
        };
        let both = tokio::join!(Endable::new(Box::pin(request)), Endable::new(Box::pin(other)));
        assert_eq!(both, (None, Some("done")));
        assert_eq!(began.elapsed(), Duration::from_secs(60));
        // A request that is over before its watch is.
        let quick = Box::pin(async { end_after(std::future::pending()) });
        assert_eq!(Endable::new(quick).await, Some(()));
        // The later one counts.
        let twice = Box::pin(async {
            end_after(std::future::pending());
            end_after(std::future::ready(()));
            std::future::pending::<()>().await;
        });
        assert_eq!(Endable::new(twice).await, None);
        end_after(std::future::ready(()));
    }

    #[test]
    fn a_store_that_is_away_is_borne_for_half_a_minute() {
        let unavailable = || Err(Refusal::new(Reason::SessionUnavailable, ""));
        assert_eq!(CHECK_OUTSIDE * MOST_UNANSWERED, Duration::from_secs(30));
        let mut looks = Looks::default();
        for _ in 0..3 {
            for _ in 1..MOST_UNANSWERED {
                assert!(looks.note(unavailable()).is_none());
            }
            // Now and then does not add up.
            assert!(looks.note(Ok(())).is_none());
        }
        let last = (0..MOST_UNANSWERED).filter_map(|_| looks.note(unavailable())).last().unwrap();
        assert_eq!(last.reason, Reason::SessionUnavailable);
        let ended = looks.note(Err(Refusal::new(Reason::SessionExpired, ""))).unwrap();
        assert_eq!(ended.reason, Reason::SessionExpired);
    }

    #[tokio::test]
    async fn a_token_ends_a_stream_with_its_time() {
        let refusal = Tether::Token(Timestamp::now()).broken().await;
        assert_eq!(refusal.reason, Reason::CredentialExpired);
        let later = Tether::Token(Timestamp::now() + Duration::from_secs(60)).broken();
        assert!(tokio::time::timeout(Duration::from_millis(50), later).await.is_err());
    }

    #[test]
    fn kinds() {
        for (content_type, kind) in [
            ("text/event-stream; charset=utf-8", Kind::Events),
            ("Text/Event-Stream", Kind::Events),
            ("application/grpc+proto", Kind::Grpc),
            ("application/json", Kind::Transfer),
            ("text", Kind::Transfer),
        ] {
            let line = (header::CONTENT_TYPE, content_type.parse().unwrap());
            assert_eq!(Kind::of(&[line].into_iter().collect()), kind, "{content_type}");
        }
        assert_eq!(Kind::of(&HeaderMap::new()), Kind::Transfer);
    }
}
