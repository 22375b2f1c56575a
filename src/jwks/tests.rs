use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use super::{
    provider::{Provider, jwks_at},
    *,
};
use crate::bearer::minting::{Minter, document};

const EDDSA: &[Algorithm] = &[Algorithm::EdDSA];

fn two_documents() -> (Vec<u8>, Vec<u8>) {
    let (old, new) = (Minter::ed25519("old"), Minter::ed25519("new"));
    (document(&[&old]), document(&[&old, &new]))
}

/// A provider, and its keys after a first good fetch.
async fn fetched(document: Vec<u8>) -> (Provider, Arc<Jwks>) {
    let provider = Provider::serving(document).await;
    let jwks = Arc::new(provider.jwks(EDDSA));
    jwks.refresh().await.unwrap();
    (provider, jwks)
}

/// A server that is no HTTP library: `serve` gets each connection once the request was read.
fn raw_server(serve: impl Fn(TcpStream) -> std::io::Result<()> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = serve(stream);
        }
    });
    address
}

#[tokio::test]
async fn a_set_is_fetched_and_kept_while_it_stays_the_same() {
    let (old, new) = two_documents();
    let provider = Provider::serving(old).await;
    let jwks = provider.jwks(EDDSA);
    assert!(jwks.current().is_none() && jwks.last_success().is_none());
    jwks.refresh().await.unwrap();
    let first = jwks.current().unwrap();
    assert!(jwks.last_success().is_some());
    jwks.refresh().await.unwrap();
    assert!(Arc::ptr_eq(&first, &jwks.current().unwrap()), "nothing changed");
    provider.answer(200, new);
    jwks.refresh().await.unwrap();
    assert_eq!(jwks.current().unwrap().len(), 2);
}

#[tokio::test]
async fn r31_a_bad_answer_keeps_the_old_keys_and_the_next_good_one_counts() {
    let (old, new) = two_documents();
    let (provider, jwks) = fetched(old.clone()).await;
    let kept = jwks.current().unwrap();
    let huge = vec![b' '; MAX_DOCUMENT + 1];
    for (status, body, expected) in [
        (500, &old[..], "the key set is answered with status 500"),
        (302, &old, "the key set is answered with status 302"),
        (204, b"", "the key set is answered with status 204"),
        (206, &old, "the key set is answered with status 206"),
        (200, b"<html>", "the key set is not a JSON object with an array `keys`"),
        (200, b"", "the key set is not a JSON object with an array `keys`"),
        (200, br#"{"keys":[]}"#, "the key set has no key that can verify an allowed algorithm"),
        (200, &huge, "the key set cannot be read: the answer is larger than 262144 bytes"),
    ] {
        provider.answer(status, body);
        assert_eq!(jwks.refresh().await.unwrap_err().to_string(), expected);
        assert!(Arc::ptr_eq(&kept, &jwks.current().unwrap()), "{expected}");
    }
    provider.answer(200, new);
    jwks.refresh().await.unwrap();
    assert_eq!(jwks.current().unwrap().len(), 2);
}

#[tokio::test]
async fn r31_an_endless_answer_is_cut_off() {
    let endless = raw_server(|mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        loop {
            stream.write_all(&[b' '; 8192])?;
        }
    });
    let error = jwks_at(endless, EDDSA, Duration::from_secs(5)).refresh().await.unwrap_err();
    assert!(matches!(error, FetchError::Body(BodyError::TooLarge(_))), "{error}");
}

#[tokio::test]
async fn r31_a_dripping_answer_ends_with_the_time_out() {
    let dripping = raw_server(|mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")?;
        loop {
            stream.write_all(b" ")?;
            thread::sleep(Duration::from_millis(10));
        }
    });
    let error = jwks_at(dripping, EDDSA, Duration::from_millis(200)).refresh().await.unwrap_err();
    assert!(matches!(error, FetchError::Body(BodyError::Broken(_))), "{error}");
}

#[tokio::test]
async fn r31_garbage_a_reset_and_a_closed_port_are_errors_without_the_url() {
    let garbage = raw_server(|mut stream| stream.write_all(b"SSH-2.0-what\r\n"));
    let hanging_up = raw_server(|_| Ok(()));
    let cut_short = raw_server(|mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"keys\":")
    });
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [garbage, hanging_up, cut_short, nobody] {
        let jwks = jwks_at(address, EDDSA, Duration::from_secs(5));
        let error = jwks.refresh().await.unwrap_err();
        assert!(matches!(error, FetchError::Unreachable(_) | FetchError::Body(_)), "{error}");
        assert!(!error.to_string().contains("jwks.json"), "{error}");
        assert!(jwks.current().is_none());
    }
}

#[tokio::test]
async fn an_unknown_kid_fetches_once_for_a_hundred_callers() {
    let (old, new) = two_documents();
    let (provider, jwks) = fetched(old).await;
    provider.answer(200, new);
    provider.hold();
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let jwks = Arc::clone(&jwks);
            tokio::spawn(async move { jwks.keys_for_unknown_kid().await })
        })
        .collect();
    provider.asked(2).await;
    assert_eq!(jwks.current().unwrap().len(), 1, "readers do not wait");
    provider.release();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().len(), 2, "everybody sees the new key");
    }
    assert_eq!(provider.count(), 2, "the first fetch and one more");
}

#[tokio::test]
async fn a_failed_look_sets_the_cooldown_too() {
    let (old, new) = two_documents();
    let (provider, jwks) = fetched(old).await;
    provider.answer(500, "");
    assert_eq!(jwks.keys_for_unknown_kid().await.unwrap().len(), 1, "the old keys");
    provider.answer(200, new);
    for _ in 0..10 {
        assert_eq!(jwks.keys_for_unknown_kid().await.unwrap().len(), 1);
    }
    assert_eq!(provider.count(), 2);
    jwks.refresh().await.unwrap();
    assert_eq!(jwks.current().unwrap().len(), 2, "the background is not held up by it");
}

/// A caller may find the lock taken by one who only looks whether the cooldown is over.
#[tokio::test]
async fn the_cooldown_counts_for_who_waited_for_the_lock_too() {
    let (provider, jwks) = fetched(two_documents().0).await;
    let mut flight = jwks.flight.lock().await;
    flight.unknown_kid = Some(Instant::now());
    let waiting = {
        let jwks = Arc::clone(&jwks);
        tokio::spawn(async move { jwks.keys_for_unknown_kid().await })
    };
    tokio::task::yield_now().await;
    drop(flight);
    assert!(waiting.await.unwrap().is_some());
    assert_eq!(provider.count(), 1);
}

#[tokio::test]
async fn after_the_cooldown_an_unknown_kid_fetches_again() {
    let (old, new) = two_documents();
    let provider = Provider::serving(old).await;
    let jwks = Arc::new(Jwks { cooldown: Duration::ZERO, ..provider.jwks(EDDSA) });
    assert_eq!(jwks.keys_for_unknown_kid().await.unwrap().len(), 1);
    provider.answer(200, new);
    assert_eq!(jwks.keys_for_unknown_kid().await.unwrap().len(), 2);
    assert_eq!(provider.count(), 2);
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_end_the_fetch() {
    let (old, new) = two_documents();
    let (provider, jwks) = fetched(old).await;
    provider.answer(200, new);
    provider.hold();
    let leaving = {
        let jwks = Arc::clone(&jwks);
        tokio::spawn(async move { jwks.keys_for_unknown_kid().await })
    };
    provider.asked(2).await;
    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());
    let waiting = jwks.keys_for_unknown_kid();
    provider.release();
    assert_eq!(waiting.await.unwrap().len(), 2);
    assert_eq!(provider.count(), 2);
}

#[tokio::test]
async fn an_unknown_kid_joins_a_refresh_that_is_under_way() {
    let (old, new) = two_documents();
    let (provider, jwks) = fetched(old).await;
    provider.answer(200, new);
    provider.hold();
    let refreshing = {
        let jwks = Arc::clone(&jwks);
        tokio::spawn(async move { jwks.refresh().await })
    };
    provider.asked(2).await;
    let asking = {
        let jwks = Arc::clone(&jwks);
        tokio::spawn(async move { jwks.keys_for_unknown_kid().await })
    };
    // On this one thread the yield lets the caller ask before the refresh can land.
    tokio::task::yield_now().await;
    provider.release();
    refreshing.await.unwrap().unwrap();
    assert_eq!(asking.await.unwrap().unwrap().len(), 2);
    assert_eq!(provider.count(), 2);
}

#[tokio::test]
async fn the_background_recovers_and_ends_at_shutdown() {
    let (old, new) = two_documents();
    let provider = Provider::serving(old.clone()).await;
    provider.answer(500, "");
    let jwks = Arc::new(Jwks { refresh: Duration::from_millis(5), ..provider.jwks(EDDSA) });
    let (shutdown, watch) = watch::channel(false);
    let background = tokio::spawn(Arc::clone(&jwks).keep_fresh(watch));
    provider.asked(2).await;
    assert!(jwks.current().is_none());
    for (document, keys) in [(old, 1), (new, 2)] {
        provider.answer(200, document);
        // The fetch after the next one begins when the next one has been adopted.
        provider.asked(provider.count() + 2).await;
        assert_eq!(jwks.current().unwrap().len(), keys);
    }
    provider.hold();
    provider.asked(provider.count() + 1).await;
    shutdown.send(true).unwrap();
    background.await.expect("ends although a fetch is under way");
}

#[tokio::test]
async fn the_background_ends_when_nobody_can_stop_it_any_more() {
    let provider = Provider::serving(two_documents().0).await;
    let (shutdown, watch) = watch::channel(false);
    drop(shutdown);
    Arc::new(provider.jwks(EDDSA)).keep_fresh(watch).await;
}

#[test]
fn pauses() {
    let refresh = Duration::from_mins(10);
    assert_eq!(pause(refresh, 0, 0), refresh);
    assert_eq!(pause(refresh, 0, 255), Duration::from_mins(8));
    let retries: Vec<_> = (1..=7).map(|failures| pause(refresh, failures, 7).as_secs()).collect();
    assert_eq!(retries, [1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(pause(refresh, u32::MAX, 0), LONGEST_RETRY);
    assert_eq!(pause(Duration::from_secs(3), 5, 0), Duration::from_secs(3));
}
