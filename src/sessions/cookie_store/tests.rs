use super::*;
use crate::session::{
    cookie::{SameSite, Settings},
    key_ring::KeyRing,
    tests::session,
};

const NOW: Timestamp = Timestamp(1_000);
const FAR: Timestamp = Timestamp(u64::MAX);

fn jar(key: u8) -> Arc<Jar> {
    let ring = KeyRing::new(vec![[key; 32]]).unwrap();
    let settings = Settings { name: "portcullis".into(), secure: true, same_site: SameSite::Lax };
    Arc::new(Jar::new(&settings, ring).unwrap())
}

fn store(key: u8) -> CookieStore {
    CookieStore::new(jar(key), Duration::from_mins(10))
}

/// What a browser sends that was given this session.
fn sent(store: &CookieStore, session: &Session) -> String {
    let lines = store.lines(session, Pieces::default(), NOW).unwrap();
    let pairs = lines.iter().map(|line| line.to_str().unwrap().split("; ").next().unwrap());
    pairs.collect::<Vec<_>>().join("; ")
}

fn load(store: &CookieStore, header: &str) -> Loaded {
    let jar = Arc::clone(&store.jar);
    store.load(&jar.read([header.as_bytes()]).unwrap(), NOW)
}

fn loaded(store: &CookieStore, header: &str) -> Held {
    match load(store, header) {
        Loaded::Session(held) => held,
        _ => panic!("no session of {header}"),
    }
}

#[test]
fn a_cookie_is_opened_once_and_its_identity_made_once() {
    let store = store(1);
    let header = sent(&store, &session());
    let (first, second) = (loaded(&store, &header), loaded(&store, &header));
    assert!(Arc::ptr_eq(&first.session, &second.session));
    assert!(Arc::ptr_eq(&first.session.identity(), &second.session.identity()));
    assert_eq!(first.session.public_id(), session().public_id());
    assert_eq!(store.opened.count(), 1);
    // The same session sealed again is another cookie.
    let again = loaded(&store, &sent(&store, &session()));
    assert!(!Arc::ptr_eq(&first.session, &again.session));
    assert_eq!(store.opened.count(), 2);
}

#[test]
fn what_is_remembered_of_a_cookie_does_not_outlive_its_session() {
    let store = store(1);
    let header = sent(&store, &session());
    assert_eq!(loaded(&store, &header).session.revision, 0);
    // A newer state takes its place, for a cookie that was opened before as well.
    let moved = session().acting_in(crate::organisation::Organisation::parse(ACME).unwrap());
    store.keep(moved.clone(), NOW);
    let held = loaded(&store, &header);
    assert_eq!((held.presented, held.session.revision), (0, 1));
    assert_eq!(held.session.organisation, moved.organisation);
    assert_eq!(held.session.identity().organisation, moved.organisation);
    // R13: once it was ended, the cookie opens nothing.
    store.revoke(Mark::Session(&session().id), FAR, FAR, NOW);
    assert!(matches!(load(&store, &header), Loaded::Ended));
}

#[test]
fn r12_no_cookie_but_the_very_same_is_remembered() {
    let store = store(1);
    let header = sent(&store, &session());
    loaded(&store, &header);
    let value = header.find('=').unwrap() + 3;
    for at in value..header.len() {
        let mut bytes = header.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(matches!(load(&store, &changed), Loaded::Failed(_)), "{at}");
    }
    assert!(matches!(load(&store, &format!("{header}A")), Loaded::Failed(_)));
    assert!(matches!(load(&store, "a=b"), Loaded::NotPresented));
    // What does not open is not remembered.
    assert_eq!(store.opened.count(), 1);
}

/// The pieces are looked at each in its place.
#[test]
fn r20_pieces_are_not_moved_between_each_other() {
    let store = store(1);
    let large = Session { id_token: Some("x".repeat(7_000).into()), ..session() };
    let header = sent(&store, &large);
    assert!(header.contains("portcullis.1="), "{header}");
    loaded(&store, &header);
    let swapped = header.replace("lis.1=", "lis.X=").replace("lis.2=", "lis.1=");
    let swapped = swapped.replace("lis.X=", "lis.2=");
    assert_ne!(swapped, header);
    assert!(matches!(load(&store, &swapped), Loaded::Failed(_)));
}

#[test]
fn other_keys_know_nothing_of_it() {
    let before = store(1);
    let header = sent(&before, &session());
    loaded(&before, &header);
    let after = CookieStore::after(&before, jar(2));
    assert!(matches!(load(&after, &header), Loaded::Failed(_)));
    let same = CookieStore::after(&before, jar(1));
    assert_eq!(loaded(&same, &header).session.id, session().id);
}

const ACME: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
