//! With a real `redis-server`.

use std::sync::atomic::AtomicU32;

use secrecy::ExposeSecret;

use tokio::time::Instant;

use super::{
    super::{
        Limits,
        store::{Fence, Lease},
    },
    lease::LEASE,
    *,
};
use crate::session::{
    cookie::{SameSite, Settings},
    key_ring::KeyRing,
    tests::session,
};

#[expect(dead_code, reason = "tests of the gateway use more of it")]
#[path = "../../../tests/gateway/support/redis.rs"]
mod server;

mod places;

use server::Redis;

const LIMITS: Limits =
    Limits { idle: Duration::from_secs(1_800), absolute: Duration::from_secs(43_200) };

fn jar(key: u8) -> Arc<Jar> {
    let settings =
        Settings { name: "portcullis".to_owned(), secure: false, same_site: SameSite::Lax };
    Arc::new(Jar::new(&settings, KeyRing::new(vec![[key; 32]]).unwrap()).unwrap())
}

fn store_at(url: &str, ca: Option<&[u8]>) -> RedisStore {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    RedisStore::new(jar(1), LIMITS, &RedisUrl::parse(url).unwrap(), ca).unwrap()
}

fn store(redis: &Redis) -> RedisStore {
    store_at(&redis.url(""), None)
}

/// A session that began now, with an id of its own.
fn fresh() -> Session {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let now = Timestamp::now();
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut id = [7; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    Session {
        id,
        began: now,
        last_seen: now,
        token_since: now,
        token_expires: now + Duration::from_secs(300),
        ends: now + LIMITS.absolute,
        provider_ends: None,
        refresh_token: Some("refresh-token-one".to_owned().into()),
        revision: 0,
        ..session()
    }
}

/// The `Cookie` value that a browser makes of `Set-Cookie` lines.
async fn begin(store: &RedisStore, session: &Session) -> Vec<u8> {
    let now = Timestamp::now();
    let lines = store.begin(session, Pieces::default(), now).await.unwrap();
    let pairs = lines.iter().map(|line| line.to_str().unwrap().split(';').next().unwrap());
    pairs.collect::<Vec<_>>().join("; ").into_bytes()
}

async fn load(store: &RedisStore, cookie: &[u8]) -> Loaded {
    store.load(&store.jar.read([cookie]).unwrap(), Timestamp::now()).await
}

async fn loaded(store: &RedisStore, cookie: &[u8]) -> Session {
    match load(store, cookie).await {
        Loaded::Session(held) => held.session.to_session(),
        Loaded::Failed(why) => panic!("{why}"),
        Loaded::Ended => panic!("ended"),
        Loaded::NotPresented | Loaded::Unreachable => panic!("not there"),
    }
}

async fn granted(store: &RedisStore, session: &Session) -> Fence {
    match store.lease(session).await {
        Lease::Granted(fence) => fence,
        _ => panic!("no lease"),
    }
}

fn renewed(session: &Session, token: &str) -> Session {
    Session {
        access_token: "new-access-token".to_owned().into(),
        refresh_token: Some(token.to_owned().into()),
        revision: session.revision + 1,
        ..session.clone()
    }
}

async fn ask<T: redis::FromRedisValue>(store: &RedisStore, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    store.redis.run(&command).await.unwrap()
}

#[tokio::test]
async fn what_is_kept_comes_back_to_every_process() {
    let redis = Redis::start(&[]);
    let (one, other) = (store(&redis), store(&redis));
    let session = fresh();
    let cookie = begin(&one, &session).await;
    assert!(cookie.len() < 300, "the browser has a ticket, not the session");
    let back = loaded(&other, &cookie).await;
    assert_eq!(back.to_bytes(), session.to_bytes());
    assert!(matches!(load(&one, b"a=b").await, Loaded::NotPresented));
}

#[tokio::test]
async fn redis_alone_tells_and_opens_nothing() {
    let redis = Redis::start(&[]);
    let store = store(&redis);
    let session = fresh();
    begin(&store, &session).await;
    let keys: Vec<String> = ask(&store, &["KEYS", "*"]).await;
    let [key] = &keys[..] else { panic!("{keys:?}") };
    let fields: Vec<Vec<u8>> = ask(&store, &["HGETALL", key]).await;
    let all = [key.as_bytes(), &fields.concat()].concat();
    let encoded = URL_SAFE_NO_PAD.encode(session.id);
    for secret in [
        session.access_token.expose_secret().as_bytes(),
        b"refresh-token-one",
        session.subject.as_bytes(),
        &session.id,
        encoded.as_bytes(),
    ] {
        assert!(!all.windows(secret.len()).any(|window| window == secret));
    }
}

#[tokio::test]
async fn a_ticket_that_is_not_whole_never_reaches_redis() {
    let redis = Redis::start(&[]);
    let store = store(&redis);
    let cookie = begin(&store, &fresh()).await;
    let _: String = ask(&store, &["CONFIG", "RESETSTAT"]).await;
    for at in "portcullis=1.".len()..cookie.len() {
        let mut bad = cookie.clone();
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        assert!(matches!(load(&store, &bad).await, Loaded::Failed(_)), "byte {at}");
    }
    let stranger = RedisStore { jar: jar(2), ..store_at(&redis.url(""), None) };
    assert!(matches!(load(&stranger, &cookie).await, Loaded::Failed(_)));
    let statistics: String = ask(&store, &["INFO", "commandstats"]).await;
    assert!(!statistics.contains("cmdstat_eval"), "{statistics}");
    // A session sealed into a cookie is no ticket.
    let whole = store.jar.save(&fresh(), Pieces::default(), Timestamp::now()).unwrap();
    let whole = whole[0].to_str().unwrap().split(';').next().unwrap().as_bytes().to_vec();
    assert!(matches!(load(&store, &whole).await, Loaded::Failed(_)));
}

#[tokio::test]
async fn a_record_that_was_tampered_with_is_refused() {
    let redis = Redis::start(&[]);
    let store = store(&redis);
    let (one, other) = (fresh(), fresh());
    let cookie = begin(&store, &one).await;
    begin(&store, &other).await;
    let (mine, theirs) = (Record::of(&one.id).unwrap().key, Record::of(&other.id).unwrap().key);
    let good: Vec<u8> = ask(&store, &["HGET", &mine, "sealed"]).await;
    let foreign: Vec<u8> = ask(&store, &["HGET", &theirs, "sealed"]).await;
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for bad in [foreign, flipped, Vec::new(), vec![0; LARGEST + 1]] {
        let mut command = redis::cmd("HSET");
        command.arg(&mine).arg("sealed").arg(&bad);
        let _: i64 = store.redis.run(&command).await.unwrap();
        assert!(matches!(load(&store, &cookie).await, Loaded::Failed(_)), "{}", bad.len());
    }
    let mut command = redis::cmd("HSET");
    command.arg(&mine).arg("sealed").arg(&good).arg("revision").arg(1);
    let _: i64 = store.redis.run(&command).await.unwrap();
    assert!(matches!(load(&store, &cookie).await, Loaded::Failed(_)), "of another revision");
}

#[tokio::test]
async fn a_session_too_large_is_not_kept() {
    let redis = Redis::start(&[]);
    let session = Session { access_token: "x".repeat(LARGEST).into(), ..fresh() };
    let begun = store(&redis).begin(&session, Pieces::default(), Timestamp::now()).await;
    assert!(matches!(begun, Err(KeepError::Save(SaveError::TooLarge { .. }))));
}

#[tokio::test]
async fn records_end_with_their_sessions_and_slide_with_them() {
    let redis = Redis::start(&[]);
    let store = store(&redis);
    let now = Timestamp::now();
    let session = fresh();
    let cookie = begin(&store, &session).await;
    let key = Record::of(&session.id).unwrap().key;
    let at = async || ask::<u64>(&store, &["EXPIRETIME", &key]).await;
    assert_eq!(at().await, (session.last_seen + LIMITS.idle + GRACE).0);
    let later = session.clone().seen(now + Duration::from_secs(600));
    store.touch(&later).await.unwrap();
    assert_eq!(at().await, (later.last_seen + LIMITS.idle + GRACE).0);
    assert_eq!(loaded(&store, &cookie).await.last_seen, later.last_seen);
    store.touch(&session).await.unwrap();
    assert_eq!(loaded(&store, &cookie).await.last_seen, later.last_seen, "it never goes back");
    // Near its end the end counts; and a session without a refresh token ends with its token.
    let near = Session { ends: now + Duration::from_secs(100), ..fresh() };
    begin(&store, &near).await;
    let key = Record::of(&near.id).unwrap().key;
    assert_eq!(ask::<u64>(&store, &["EXPIRETIME", &key]).await, (near.ends + GRACE).0);
    let over = Session { ends: now, ..fresh() };
    let cookie = begin(&store, &over).await;
    assert!(matches!(load(&store, &cookie).await, Loaded::Ended));
}

#[tokio::test]
async fn of_two_processes_one_gets_the_lease_and_the_other_what_came_of_it() {
    let redis = Redis::start(&[]);
    let (one, other) = (store(&redis), store(&redis));
    let session = fresh();
    let cookie = begin(&one, &session).await;
    let fence = granted(&one, &session).await;
    let waiting = other.lease(&session);
    let committing = async {
        // Longer than the lease, which its holder renews.
        tokio::time::sleep(LEASE + Duration::from_millis(500)).await;
        one.commit(&fence, renewed(&session, "two")).await.unwrap().unwrap()
    };
    let (waited, kept) = tokio::join!(waiting, committing);
    let Lease::Newer(newer) = waited else { panic!("another lease") };
    assert_eq!(newer.to_bytes(), kept.to_bytes());
    assert_eq!(loaded(&other, &cookie).await.to_bytes(), kept.to_bytes());
    // The next token is another matter.
    granted(&other, &kept).await;
}

#[tokio::test]
async fn a_dead_holders_token_is_never_shown_again() {
    let redis = Redis::start(&[]);
    let (one, other) = (store(&redis), store(&redis));
    let session = fresh();
    begin(&one, &session).await;
    drop(granted(&one, &session).await);
    assert!(matches!(other.lease(&session).await, Lease::Spent));
    assert!(matches!(one.lease(&session).await, Lease::Spent));
}

#[tokio::test]
async fn a_late_holder_may_commit_and_one_that_was_overtaken_may_not() {
    let redis = Redis::start(&[]);
    let store = store(&redis);
    let session = fresh();
    let cookie = begin(&store, &session).await;
    let record = Record::of(&session.id).unwrap();
    let late = granted(&store, &session).await;
    let _: i64 = ask(&store, &["DEL", &record.lease]).await;
    let kept = store.commit(&late, renewed(&session, "two")).await.unwrap().unwrap();
    // As if another had been granted one since.
    let overtaken = granted(&store, &kept).await;
    let _: i64 = ask(&store, &["HINCRBY", &record.key, "fence", "1"]).await;
    assert!(store.commit(&overtaken, renewed(&kept, "three")).await.unwrap().is_none());
    let token = loaded(&store, &cookie).await.refresh_token.unwrap();
    assert_eq!(token.expose_secret(), "two");
}

#[tokio::test]
async fn a_released_lease_is_there_for_the_next_if_the_token_was_not_used() {
    let redis = Redis::start(&[]);
    let store = store(&redis);
    let session = fresh();
    begin(&store, &session).await;
    let fence = granted(&store, &session).await;
    store.release(&fence, &session, true).await;
    let fence = granted(&store, &session).await;
    store.release(&fence, &session, false).await;
    assert!(matches!(store.lease(&session).await, Lease::Spent));
}

#[tokio::test]
async fn a_change_of_organisation_and_a_refresh_do_not_undo_each_other() {
    let redis = Redis::start(&[]);
    let store = store(&redis);
    let session = fresh();
    let cookie = begin(&store, &session).await;
    let organisation = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
    let organisation = crate::organisation::Organisation::parse(organisation).unwrap();
    let fence = granted(&store, &session).await;
    store.keep(&session.clone().acting_in(organisation)).await.unwrap();
    store.commit(&fence, renewed(&session, "two")).await.unwrap().unwrap();
    // With a state from before the refresh.
    store.keep(&session.clone().acting_in(organisation)).await.unwrap();
    let now = loaded(&store, &cookie).await;
    assert_eq!(now.organisation, Some(organisation));
    assert_eq!(now.access_token.expose_secret(), "new-access-token");
}

#[tokio::test]
async fn nothing_brings_an_ended_session_back() {
    let redis = Redis::start(&[]);
    let store = store(&redis);
    let session = fresh();
    let cookie = begin(&store, &session).await;
    let fence = granted(&store, &session).await;
    let now = Timestamp::now();
    let mark = Mark::Session(&session.id);
    store.revoke(mark, Timestamp(u64::MAX), session.ends, now).await.unwrap();
    assert!(store.commit(&fence, renewed(&session, "two")).await.unwrap().is_none());
    assert!(matches!(store.keep(&session).await, Err(KeepError::Ended)));
    store.touch(&session).await.unwrap();
    store.release(&fence, &session, true).await;
    assert!(matches!(load(&store, &cookie).await, Loaded::Ended));
    assert!(matches!(store.lease(&session).await, Lease::Ended));
    assert_eq!(ask::<u64>(&store, &["DBSIZE"]).await, 0);
}

#[tokio::test]
async fn marks_end_what_began_by_then_and_never_shrink() {
    let redis = Redis::start(&[]);
    let (one, other) = (store(&redis), store(&redis));
    let session = fresh();
    let cookie = begin(&one, &session).await;
    let (now, until) = (Timestamp::now(), Timestamp::now() + Duration::from_secs(100));
    let sid = session.provider_session.clone().unwrap();
    for mark in [Mark::ProviderSession(&sid), Mark::Subject(&session.subject)] {
        let before = Timestamp(session.began.0 - 1);
        one.revoke(mark, before, until, now).await.unwrap();
        loaded(&other, &cookie).await;
    }
    let mark = Mark::ProviderSession(&sid);
    one.revoke(mark, session.began, until, now).await.unwrap();
    assert!(matches!(load(&other, &cookie).await, Loaded::Ended));
    one.revoke(mark, Timestamp(5), Timestamp(now.0 + 1), now).await.unwrap();
    assert!(matches!(load(&other, &cookie).await, Loaded::Ended));
    assert!(ask::<i64>(&one, &["TTL", &mark_key(&mark.key())]).await > 90);
}

#[tokio::test]
async fn a_logout_token_counts_once() {
    let redis = Redis::start(&[]);
    let (one, other) = (store(&redis), store(&redis));
    let (now, until) = (Timestamp::now(), Timestamp::now() + Duration::from_secs(100));
    assert!(one.first_use("jti", until, now).await.unwrap());
    assert!(!other.first_use("jti", until, now).await.unwrap());
    assert!(other.first_use("another", until, now).await.unwrap());
}
