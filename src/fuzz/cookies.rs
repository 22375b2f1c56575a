//! Our cookies, and the callback that a login cookie waits for.

use std::{sync::LazyLock, time::Duration};

use http::HeaderValue;

use super::{choice, halves};
use crate::{
    login::{callback::Callback, flow},
    oidc::Authorization,
    session::{
        Session,
        cookie::{Jar, Opened, OpenedTicket, Pieces, SameSite, Settings},
        key_ring::KeyRing,
        ticket::Ticket,
    },
    time::Timestamp,
};

const NOW: Timestamp = Timestamp(1_800_000_000);

static JAR: LazyLock<Option<Jar>> = LazyLock::new(|| {
    let settings =
        Settings { name: "portcullis".to_owned(), secure: true, same_site: SameSite::Lax };
    Jar::new(&settings, KeyRing::new(vec![[7; 32], [8; 32]]).ok()?).ok()
});

/// A `Cookie` header: what is ours never reaches an upstream and what is not does; nothing opens
/// but what was sealed, and what was sealed opens no more once a byte of it is another.
pub(super) fn session_cookie(input: &[u8]) {
    let Some(jar) = &*JAR else { return };
    let (header, plain) = halves(input);
    stripped(jar, header);
    if let Ok(cookies) = jar.read([header]) {
        match jar.open(&cookies) {
            Opened::NotPresented => assert!(!cookies.has_session()),
            Opened::Failed(_) => assert!(cookies.has_session()),
            // Nobody seals here but the half below, with nonces that no input can know.
            Opened::Session(_) => assert_eq!(header, b"", "a session nobody sealed"),
        }
        assert!(!matches!(jar.open_ticket(&cookies), OpenedTicket::Ticket(_)));
    }
    if let Some(session) = Session::from_bytes(plain) {
        sealed(jar, &session, usize::from(choice(header).0));
    }
    if let Some(ticket) = Ticket::from_bytes(plain) {
        assert_eq!(ticket.to_bytes(), plain);
        let lines = jar.save_ticket(&ticket, Pieces::default(), NOW).unwrap_or_default();
        let header = as_sent(&lines);
        let cookies = jar.read([header.as_slice()]).unwrap_or_default();
        assert!(matches!(jar.open_ticket(&cookies), OpenedTicket::Ticket(same) if same == ticket));
        // A seal for one purpose is none for another.
        assert!(matches!(jar.open(&cookies), Opened::Failed(_)));
    }
}

fn stripped(jar: &Jar, header: &[u8]) {
    let Some(kept) = jar.strip([header]) else { return };
    for piece in kept.as_bytes().split(|byte| *byte == b';') {
        let name = piece.split(|byte| *byte == b'=').next().unwrap_or_default();
        assert!(!jar.owns(name.trim_ascii()), "a cookie of ours is left: {kept:?}");
    }
    assert_eq!(jar.strip([kept.as_bytes()]), Some(kept), "stripping again strips more");
}

fn sealed(jar: &Jar, session: &Session, at: usize) {
    let bytes = session.to_bytes();
    let again = Session::from_bytes(&bytes).map(|again| again.to_bytes());
    assert_eq!(again.as_ref(), Some(&bytes));
    let Ok(lines) = jar.save(session, Pieces::default(), NOW) else { return };
    let mut header = as_sent(&lines);
    let opened = |header: &[u8]| jar.read([header]).map(|cookies| jar.open(&cookies));
    assert!(
        matches!(opened(&header), Ok(Opened::Session(same)) if same.to_bytes() == bytes),
        "what was sealed does not open"
    );
    let length = header.len();
    if let Some(byte) = header.get_mut(at * 37 % length) {
        *byte = if *byte == b'A' { b'B' } else { b'A' };
        assert!(!matches!(opened(&header), Ok(Opened::Session(_))), "a changed byte opens");
    }
}

/// What a browser sends back.
fn as_sent(lines: &[HeaderValue]) -> Vec<u8> {
    let pairs = lines
        .iter()
        .map(|line| line.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default());
    pairs.collect::<Vec<_>>().join(&b"; "[..])
}

/// A login's cookie and the `state` that a callback brings: only the two that belong together
/// resume it, and only in time.
pub(super) fn login_cookie(input: &[u8]) {
    let Some(jar) = &*JAR else { return };
    let (chosen, rest) = choice(input);
    let (header, state) = halves(rest);
    let state = String::from_utf8_lossy(state);
    if let Ok(cookies) = jar.read([header]) {
        assert!(flow::resume(jar, &cookies, &state, NOW).is_none(), "a login nobody began");
        assert!(flow::make_room(jar, &cookies, NOW).len() <= cookies.logins().len());
    }
    stripped(jar, header);
    let Ok(url) = url::Url::parse("https://iam.example.com/authorize") else { return };
    let authorization = Authorization {
        url,
        state: state.clone().into_owned(),
        nonce: "nonce".into(),
        verifier: "verifier".into(),
    };
    let Some(line) = flow::begin(jar, &authorization, "/a", NOW) else {
        return assert!(!flow::is_state(&state), "a login that is not begun");
    };
    assert!(flow::is_state(&state));
    let mut own = as_sent(&[line]);
    let resumes = |cookie: &[u8], state: &str, now: Timestamp| {
        let cookies = jar.read([cookie]).ok()?;
        flow::resume(jar, &cookies, state, now).map(|pending| pending.return_to)
    };
    assert_eq!(resumes(&own, &state, NOW).as_deref(), Some("/a"));
    assert_eq!(resumes(&own, &state, NOW + Duration::from_hours(1)), None, "a login too late");
    let other: String = state.chars().rev().collect();
    assert!(other == state || resumes(&own, &other, NOW).is_none(), "another login's state");
    let length = own.len();
    if let Some(byte) = own.get_mut(usize::from(chosen) * 3 % length) {
        *byte = if *byte == b'A' { b'B' } else { b'A' };
        assert_eq!(resumes(&own, &state, NOW), None, "a changed byte resumes");
    }
}

/// A callback's query: what is taken has one state of ours, and one code or one error (R19).
pub(super) fn callback(input: &[u8]) {
    let query = String::from_utf8_lossy(input);
    let Ok(callback) = Callback::parse(Some(&query)) else { return };
    assert!(flow::is_state(&callback.state));
    let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let all = |name: &str| pairs.iter().filter(|(key, _)| key == name).collect::<Vec<_>>();
    let (states, codes, errors) = (all("state"), all("code"), all("error"));
    assert_eq!(states.len(), 1);
    assert_eq!(states.first().map(|(_, value)| &**value), Some(&*callback.state));
    assert_eq!(codes.len() + errors.len(), 1, "{query:?}");
    match &callback.result {
        Ok(code) => assert_eq!(codes.first().map(|(_, value)| &**value), Some(&**code)),
        Err(_) => assert_eq!(errors.len(), 1),
    }
}
