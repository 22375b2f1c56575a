//! What is remembered between the two halves of a login, in a cookie of its own.
//!
//! One cookie a login, so that logins in several tabs do not undo each other. Its name ends in
//! the first characters of `state`; its value is `state.sealed`, and the seal is bound to name
//! and state (R14, R20): a callback can only be completed by the browser that began it. `state`
//! is no secret from its own browser, which has it in its address bar.
//!
//! Pure: time is an argument.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::{
    oidc::Authorization,
    session::{
        cookie::{Cookies, Jar},
        key_ring::Label,
    },
    time::Timestamp,
};

/// A login that waits for its callback.
pub(crate) struct Pending {
    pub(crate) nonce: SecretString,
    pub(crate) verifier: SecretString,
    /// Already judged by [`super::return_to()`].
    pub(crate) return_to: String,
}

/// The `Set-Cookie` line that begins a login. `None` when it could not be sealed.
pub(crate) fn begin(
    jar: &Jar,
    authorization: &Authorization,
    return_to: &str,
    now: Timestamp,
) -> Option<HeaderValue> {
    let state = authorization.state.as_str();
    let name = cookie_name(jar, state)?;
    let record = Record {
        nonce: authorization.nonce.expose_secret(),
        verifier: authorization.verifier.expose_secret(),
        return_to,
        issued: now,
    };
    let plain = serde_json::to_vec(&record).ok()?;
    let sealed = jar.ring().seal(label(&name, state), &plain).ok()?;
    let value = format!("{state}.{}", URL_SAFE_NO_PAD.encode(sealed));
    jar.login_line(&name, &value, LIFETIME)
}

/// This browser's login of that state, if it began one and not too long ago.
pub(crate) fn resume(
    jar: &Jar,
    cookies: &Cookies<'_>,
    state: &str,
    now: Timestamp,
) -> Option<Pending> {
    let name = cookie_name(jar, state)?;
    let (_, value) = cookies.logins().iter().find(|(cookie, _)| *cookie == name)?;
    let (in_cookie, record) = open(jar, &name, value, now)?;
    verify_slices_are_equal(in_cookie.as_bytes(), state.as_bytes()).ok()?;
    Some(Pending {
        nonce: record.nonce.into(),
        verifier: record.verifier.into(),
        return_to: record.return_to,
    })
}

/// The `Set-Cookie` line that ends a login.
pub(super) fn end(jar: &Jar, state: &str) -> Option<HeaderValue> {
    jar.clear_login(&cookie_name(jar, state)?)
}

/// The `Set-Cookie` lines that make room for one more login: abandoned ones would pile up until
/// the browser's requests are too large to be served. First those go that cannot be completed,
/// then the oldest.
pub(crate) fn make_room(jar: &Jar, cookies: &Cookies<'_>, now: Timestamp) -> Vec<HeaderValue> {
    let size = |(name, value): &(&str, &[u8])| name.len() + value.len();
    let logins = cookies.logins();
    if logins.len() < MOST && logins.iter().map(size).sum::<usize>() <= MOST_BYTES {
        return Vec::new();
    }
    let (mut newest_first, mut going) = (Vec::new(), Vec::new());
    for login in logins {
        match open(jar, login.0, login.1, now) {
            Some((_, record)) => newest_first.push((record.issued, login)),
            None => going.push(login.0),
        }
    }
    newest_first.sort_by_key(|&(issued, _)| std::cmp::Reverse(issued));
    let mut bytes = 0;
    for (at, (_, login)) in newest_first.into_iter().enumerate() {
        bytes += size(login);
        if at + 1 >= MOST || bytes > MOST_BYTES {
            going.push(login.0);
        }
    }
    going.into_iter().filter_map(|name| jar.clear_login(name)).collect()
}

/// Whether a callback's `state` can be one of ours: 32 bytes in base64url.
pub(crate) fn is_state(state: &str) -> bool {
    state.len() == 43 && state.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn open<'a>(
    jar: &Jar,
    name: &str,
    value: &'a [u8],
    now: Timestamp,
) -> Option<(&'a str, Record<String>)> {
    if value.len() > LARGEST {
        return None;
    }
    let (state, sealed) = std::str::from_utf8(value).ok()?.split_once('.')?;
    let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
    let plain = jar.ring().open(label(name, state), &sealed)?;
    let record: Record<String> = serde_json::from_slice(&plain).ok()?;
    (now.since(record.issued) < LIFETIME).then_some((state, record))
}

fn cookie_name(jar: &Jar, state: &str) -> Option<String> {
    let short = is_state(state).then(|| state.get(..16)).flatten()?;
    Some(format!("{}{short}", jar.login_prefix()))
}

fn label<'a>(name: &'a str, state: &'a str) -> Label<'a> {
    Label { purpose: "login", name, extra: state }
}

/// As sealed; short names, since many may be around.
#[derive(Serialize, Deserialize)]
struct Record<S> {
    #[serde(rename = "n")]
    nonce: S,
    #[serde(rename = "v")]
    verifier: S,
    #[serde(rename = "r")]
    return_to: S,
    #[serde(rename = "i")]
    issued: Timestamp,
}

/// For somebody who has to look for a second factor, and no longer.
const LIFETIME: Duration = Duration::from_mins(10);

/// How many logins a browser keeps.
const MOST: usize = 16;

/// How many bytes they may take of the head of every request, the newest excepted.
const MOST_BYTES: usize = 8 * 1024;

/// The longest return path makes about 3,000.
const LARGEST: usize = 4_096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::{
        cookie::{SameSite, Settings},
        key_ring::KeyRing,
    };

    const NOW: Timestamp = Timestamp(10_000);

    fn jar() -> Jar {
        let settings = Settings { name: "p".into(), secure: true, same_site: SameSite::Strict };
        Jar::new(&settings, KeyRing::new(vec![[1; 32]]).unwrap()).unwrap()
    }

    fn state(seed: usize) -> String {
        format!("{seed:0>16}{}", "s".repeat(27))
    }

    /// `name=value` of the cookie that begins a login.
    fn cookie(jar: &Jar, state: &str, return_to: &str, now: Timestamp) -> String {
        let authorization = Authorization {
            url: "https://iam.example".parse().unwrap(),
            state: state.into(),
            nonce: "nonce".to_owned().into(),
            verifier: "verifier".to_owned().into(),
        };
        let line = begin(jar, &authorization, return_to, now).unwrap();
        line.to_str().unwrap().split(';').next().unwrap().to_owned()
    }

    fn resumed(jar: &Jar, header: &str, state: &str, now: u64) -> Option<Pending> {
        resume(jar, &jar.read([header.as_bytes()]).unwrap(), state, Timestamp(now))
    }

    fn cleared(jar: &Jar, cookies: &[String]) -> Vec<String> {
        let header = cookies.join("; ");
        let lines = make_room(jar, &jar.read([header.as_bytes()]).unwrap(), NOW);
        let name = |line: HeaderValue| line.to_str().unwrap().split('=').next().unwrap().to_owned();
        lines.into_iter().map(name).collect()
    }

    #[test]
    fn a_login_is_resumed_by_its_state_for_ten_minutes() {
        let jar = jar();
        let header = cookie(&jar, &state(1), "/a", NOW);
        let pending = resumed(&jar, &header, &state(1), 10_599).unwrap();
        assert_eq!(pending.return_to, "/a");
        assert_eq!(pending.nonce.expose_secret(), "nonce");
        assert!(resumed(&jar, &header, &state(1), 10_600).is_none());
        assert!(resumed(&jar, &header, &state(2), 10_000).is_none());
        assert!(resumed(&jar, "", &state(1), 10_000).is_none());
    }

    #[test]
    fn it_is_lax_whatever_the_session_is() {
        let jar = jar();
        let authorization = Authorization {
            url: "https://iam.example".parse().unwrap(),
            state: state(1),
            nonce: "n".to_owned().into(),
            verifier: "v".to_owned().into(),
        };
        let line = begin(&jar, &authorization, "/", NOW).unwrap();
        let line = line.to_str().unwrap();
        assert!(line.starts_with("__Host-p-login.0000000000000001="), "{line}");
        assert!(line.ends_with("Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=600"), "{line}");
    }

    #[test]
    fn r14_r20_a_blob_is_bound_to_its_name_and_its_whole_state() {
        let jar = jar();
        let header = cookie(&jar, &state(1), "/", NOW);
        // Another login's name, with the state that goes with it.
        let moved = header.replace(&state(1)[..16], &state(2)[..16]);
        assert!(resumed(&jar, &moved, &state(2), 10_000).is_none());
        // The same name, and a state that differs after the part that the name shows.
        let other = format!("{}{}", &state(1)[..16], "t".repeat(27));
        assert!(resumed(&jar, &header.replace(&state(1), &other), &other, 10_000).is_none());
        assert!(resumed(&jar, &header, &other, 10_000).is_none());
    }

    #[test]
    fn the_longest_return_path_fits_a_cookie() {
        let jar = jar();
        let path = format!("/{}", "a".repeat(2_047));
        let header = cookie(&jar, &state(1), &path, NOW);
        assert!(header.len() < LARGEST, "{}", header.len());
        assert_eq!(resumed(&jar, &header, &state(1), 10_000).unwrap().return_to, path);
    }

    #[test]
    fn sixteen_are_kept_and_the_dead_go_before_the_oldest() {
        let jar = jar();
        let mut logins: Vec<_> =
            (0..15).map(|at| cookie(&jar, &state(at), "/", Timestamp(9_900 + at as u64))).collect();
        assert!(cleared(&jar, &logins).is_empty(), "there is room for one more");
        logins.push(cookie(&jar, &state(99), "/", Timestamp(9_000)));
        let expired = format!("__Host-p-login.{}", &state(99)[..16]);
        assert_eq!(cleared(&jar, &logins), [expired]);
        logins.pop();
        logins.push(cookie(&jar, &state(98), "/", NOW));
        let oldest = format!("__Host-p-login.{}", &state(0)[..16]);
        assert_eq!(cleared(&jar, &logins), [oldest]);
        logins.push("__Host-p-login.garbage=x".into());
        assert_eq!(cleared(&jar, &logins).len(), 2);
    }

    #[test]
    fn large_ones_are_bounded_by_their_bytes() {
        let jar = jar();
        let path = format!("/{}", "a".repeat(2_000));
        let logins: Vec<_> = (0..5)
            .map(|at| cookie(&jar, &state(at), &path, Timestamp(9_900 + at as u64)))
            .collect();
        assert_eq!(cleared(&jar, &logins).len(), 3);
    }

    #[test]
    fn r12_no_byte_of_a_login_cookie_can_be_changed() {
        let jar = jar();
        let header = cookie(&jar, &state(1), "/a", NOW).into_bytes();
        for at in 0..header.len() {
            let good = header[at];
            for byte in [good ^ 1, good ^ 0x20, b'A', b';', b'=', b'.', b'"', b' ', 0, 0xff] {
                let mut bad = header.clone();
                bad[at] = byte;
                let resumed = jar
                    .read([&bad[..]])
                    .ok()
                    .and_then(|cookies| resume(&jar, &cookies, &state(1), Timestamp(10_000)));
                assert_eq!(resumed.is_some(), byte == good, "{byte} at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn r12_any_changed_byte_of_the_value_fails(at: prop::sample::Index, with in "[A-Za-z0-9_.-]") {
            let jar = jar();
            let mut header = cookie(&jar, &state(1), "/a", NOW);
            let start = header.find('=').unwrap() + 1;
            let at = start + at.index(header.len() - start);
            prop_assume!(header[at..=at] != with);
            header.replace_range(at..=at, &with);
            prop_assert!(resumed(&jar, &header, &state(1), 10_000).is_none());
        }

        #[test]
        fn hostile_cookies_and_states_never_panic(value in "[ -:<-~]{0,80}", state: String) {
            let jar = jar();
            let header = format!("__Host-p-login.0000000000000001={value}");
            prop_assert!(resumed(&jar, &header, &state, 10_000).is_none());
            cleared(&jar, &[header]);
        }
    }
}
