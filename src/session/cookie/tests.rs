use proptest::prelude::*;

use super::*;
use crate::session::tests::session;

fn jar() -> Jar {
    jar_with(&[1], true)
}

fn jar_with(keys: &[u8], secure: bool) -> Jar {
    let ring = KeyRing::new(keys.iter().map(|&byte| [byte; 32]).collect()).unwrap();
    let settings = Settings { name: "portcullis".into(), secure, same_site: SameSite::Lax };
    Jar::new(&settings, ring).unwrap()
}

fn large(bytes: usize) -> Session {
    Session { id_token: Some("x".repeat(bytes).into()), ..session() }
}

/// What a browser sends after these lines.
fn cookie_header(lines: &[HeaderValue]) -> String {
    let pairs = lines.iter().map(|line| line.to_str().unwrap().split("; ").next().unwrap());
    pairs.filter(|pair| !pair.ends_with('=')).collect::<Vec<_>>().join("; ")
}

fn open(jar: &Jar, header: &str) -> Opened {
    jar.open(&jar.read([header.as_bytes()]).unwrap())
}

fn saved(jar: &Jar, session: &Session) -> String {
    cookie_header(&jar.save(session, Pieces::default(), Timestamp(1_000)).unwrap())
}

#[test]
fn the_line_has_every_guard() {
    let lines = jar().save(&session(), Pieces::default(), Timestamp(1_000)).unwrap();
    let line = lines[0].to_str().unwrap();
    assert!(line.starts_with("__Host-portcullis=1."), "{line}");
    assert!(line.ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=9000"), "{line}");
    let plain = jar_with(&[1], false).clear();
    assert_eq!(plain[0], "portcullis=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    assert_eq!(plain.len(), 5, "{plain:?}");
}

#[test]
fn names_that_would_break_out_are_refused() {
    for name in ["", "a b", "a;b", "a=b", "__Host-a", "a.b", &"a".repeat(65)] {
        let ring = KeyRing::new(vec![[1; 32]]).unwrap();
        let settings = Settings { name: name.into(), secure: true, same_site: SameSite::Lax };
        assert_eq!(Jar::new(&settings, ring).unwrap_err(), InvalidName, "{name}");
    }
}

#[test]
fn three_answers() {
    let jar = jar();
    assert!(matches!(open(&jar, "theme=dark"), Opened::NotPresented));
    assert!(matches!(open(&jar, &saved(&jar, &session())), Opened::Session(_)));
    for failing in [
        "__Host-portcullis=",
        "__Host-portcullis=1.",
        "__Host-portcullis=1.AAAA",
        "__Host-portcullis=0.AAAA",
        "__Host-portcullis=2.AAAA",
        "__Host-portcullis=1.%%%%",
        "__Host-portcullis",
        "__Host-portcullis.1=AAAA",
    ] {
        assert!(matches!(open(&jar, failing), Opened::Failed(_)), "{failing}");
    }
}

#[test]
fn a_large_session_comes_back_from_its_pieces_in_any_order() {
    let jar = jar();
    let header = saved(&jar, &large(9_000));
    let mut pairs: Vec<_> = header.split("; ").collect();
    assert!(pairs.len() > 2 && pairs.iter().all(|pair| pair.len() < 3_900), "{}", pairs.len());
    pairs.reverse();
    let Opened::Session(session) = open(&jar, &pairs.join("; ")) else { panic!() };
    assert_eq!(session.to_bytes(), large(9_000).to_bytes());
    pairs.pop();
    assert!(matches!(open(&jar, &pairs.join("; ")), Opened::Failed(_)));
    let fields: Vec<_> = header.split("; ").map(str::as_bytes).collect();
    assert!(matches!(jar.open(&jar.read(fields).unwrap()), Opened::Session(_)), "several fields");
}

#[test]
fn a_smaller_session_clears_the_pieces_it_no_longer_needs() {
    let jar = jar();
    let header = saved(&jar, &large(9_000));
    let before = jar.read([header.as_bytes()]).unwrap();
    let lines = jar.save(&session(), before.pieces(), Timestamp(1_000)).unwrap();
    let cleared: Vec<_> = lines[1..].iter().map(|line| line.to_str().unwrap()).collect();
    assert!(cleared[0].starts_with("__Host-portcullis.1=; "), "{cleared:?}");
    assert!(cleared.iter().all(|line| line.ends_with("Max-Age=0")), "{cleared:?}");
    assert_eq!(cleared.len() + 1, header.split("; ").count());
}

#[test]
fn r15_counts_are_bounded_before_any_work() {
    let jar = jar();
    for count in ["99999999", "6", "9", "10", "-1", "+1", "18446744073709551616", ""] {
        let header = format!("__Host-portcullis={count}.AAAA; __Host-portcullis.1=AAAA");
        assert!(matches!(open(&jar, &header), Opened::Failed(_)), "{count}");
    }
    let header = format!("__Host-portcullis=1.{}", "A".repeat(CHUNK + 1));
    assert!(matches!(open(&jar, &header), Opened::Failed(_)));
}

#[test]
fn r15_a_session_that_is_too_large_fails_when_it_is_saved() {
    let error = jar().save(&large(20_000), Pieces::default(), Timestamp(1)).unwrap_err();
    assert!(matches!(error, SaveError::TooLarge { limit: 19_000, .. }), "{error}");
}

#[test]
fn r9_a_second_cookie_of_ours_is_refused() {
    let jar = jar();
    for twice in [
        &["__Host-portcullis=a; __Host-portcullis=a"][..],
        &["__Host-portcullis=a", "x=1; __Host-portcullis=b"],
        &["__Host-portcullis.4=a; __Host-portcullis.4 = b"],
        &["__Host-portcullis=a; __Host-portcullis"],
        &["__Host-portcullis-login.A=a; __Host-portcullis-login.A=b"],
    ] {
        let refusal = jar.read(twice.iter().map(|field| field.as_bytes())).unwrap_err();
        assert_eq!(refusal.reason, Reason::DuplicateHeader, "{twice:?}");
    }
    assert!(jar.read([&b"x=1; x=2"[..]]).is_ok(), "others may repeat");
}

#[test]
fn r20_a_session_of_one_name_opens_under_no_other() {
    let (secure, plain) = (jar_with(&[1], true), jar_with(&[1], false));
    let moved = saved(&secure, &session()).replace("__Host-", "");
    assert!(matches!(open(&plain, &moved), Opened::Failed(_)));
}

#[test]
fn key_rotation_keeps_sessions() {
    let header = saved(&jar_with(&[1], true), &session());
    assert!(matches!(open(&jar_with(&[2, 1], true), &header), Opened::Session(_)));
    assert!(matches!(open(&jar_with(&[2], true), &header), Opened::Failed(_)));
}

#[test]
fn ours_are_hidden_from_upstreams() {
    let strip = |fields: &[&str]| {
        let left = jar().strip(fields.iter().map(|field| field.as_bytes()));
        left.map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(strip(&["__Host-portcullis=1.a; __Host-portcullis.1=b"]), None);
    assert_eq!(strip(&["a=1; __Host-portcullis=1.a;b= \"2\" "]), Some("a=1; b= \"2\"".into()));
    assert_eq!(strip(&["a=1", " __Host-portcullis =x", "b=2"]), Some("a=1; b=2".into()));
    assert_eq!(strip(&["__Host-portcullis.77=a; __Host-portcullis-login.x=b"]), None);
    assert_eq!(strip(&["q=\"; __Host-portcullis=x\""]), Some("q=\"".into()));
    assert_eq!(strip(&["__Host-portcullisx=1"]), Some("__Host-portcullisx=1".into()));
    assert_eq!(strip(&[]), None);
}

/// What stands in for each byte: a flipped bit, a letter, what cuts a header into pieces, and
/// what is no text.
const STAND_INS: [u8; 9] = [b'A', b';', b'=', b'.', b'"', b',', b' ', 0, 0xff];

/// Every header that differs from this one in one byte of a value or a name.
fn mutations(header: &str) -> impl Iterator<Item = Vec<u8>> {
    (0..header.len()).flat_map(move |at| {
        let good = header.as_bytes()[at];
        let flipped = [good ^ 1, good ^ 0x20];
        let others = flipped.into_iter().chain(STAND_INS).filter(move |&byte| byte != good);
        // The blank between two cookies may be left out.
        others.filter(move |byte| !(good == b' ' && *byte == b';')).map(move |byte| {
            let mut bad = header.as_bytes().to_vec();
            bad[at] = byte;
            bad
        })
    })
}

#[test]
fn r12_no_byte_of_a_session_cookie_can_be_changed() {
    let jar = jar();
    let header = saved(&jar, &large(3_000));
    assert_eq!(header.split("; ").count(), 2, "in pieces");
    for bad in mutations(&header) {
        if let Ok(cookies) = jar.read([&bad[..]]) {
            let opened = jar.open(&cookies);
            let refused = matches!(opened, Opened::Failed(_) | Opened::NotPresented);
            assert!(refused, "{}", String::from_utf8_lossy(&bad));
        }
    }
}

#[test]
fn r12_no_byte_of_a_ticket_can_be_changed() {
    let jar = jar();
    let ticket = Ticket::of(&session());
    let lines = jar.save_ticket(&ticket, Pieces::default(), Timestamp(1_000)).unwrap();
    let header = cookie_header(&lines);
    let open = |header: &[u8]| jar.read([header]).map(|cookies| jar.open_ticket(&cookies));
    assert!(matches!(open(header.as_bytes()), Ok(OpenedTicket::Ticket(_))));
    for bad in mutations(&header) {
        let opened = open(&bad);
        assert!(
            !matches!(opened, Ok(OpenedTicket::Ticket(_))),
            "{}",
            String::from_utf8_lossy(&bad)
        );
    }
    // Neither kind opens as the other.
    assert!(matches!(jar.open(&jar.read([header.as_bytes()]).unwrap()), Opened::Failed(_)));
    let session = saved(&jar, &session());
    assert!(matches!(open(session.as_bytes()), Ok(OpenedTicket::Failed(_))));
}

proptest! {
    #[test]
    fn r12_any_changed_byte_of_the_value_fails(at: prop::sample::Index, byte: u8) {
        let jar = jar();
        let mut header = saved(&jar, &large(5_000)).into_bytes();
        let at = at.index(header.len());
        // A changed name is a lost piece; a blank or a separator may be no change at all.
        prop_assume!(header[at] != byte && ![b';', b' ', b'\t'].contains(&byte));
        header[at] = byte;
        let opened = jar.open(&jar.read([&header[..]]).unwrap());
        let acceptable = matches!(opened, Opened::Failed(_) | Opened::NotPresented);
        prop_assert!(acceptable, "{}", String::from_utf8_lossy(&header));
    }

    #[test]
    fn save_and_open_round_trip(bytes in 0..13_000_usize) {
        let jar = jar();
        let session = large(bytes);
        let Opened::Session(opened) = open(&jar, &saved(&jar, &session)) else { panic!() };
        prop_assert_eq!(opened.to_bytes(), session.to_bytes());
    }

    #[test]
    fn any_header_is_read_without_a_panic(fields: Vec<Vec<u8>>) {
        let jar = jar();
        let fields = || fields.iter().map(Vec::as_slice);
        if let Ok(cookies) = jar.read(fields()) {
            prop_assert!(!matches!(jar.open(&cookies), Opened::Session(_)));
        }
        jar.strip(fields());
    }

    #[test]
    fn r12_hostile_session_cookies_never_open(value in "[1-9]?\\.?[A-Za-z0-9_-]{0,64}") {
        let opened = open(&jar(), &format!("__Host-portcullis={value}"));
        prop_assert!(matches!(opened, Opened::Failed(_)));
    }

    #[test]
    fn other_cookies_pass_byte_for_byte(
        others in prop::collection::vec("[a-z]{1,5}=[!-:<-~]{0,9}", 1..6),
        ours in prop::collection::vec((0..6_usize, "[A-Za-z0-9]{0,9}"), 0..6),
    ) {
        let mut mixed: Vec<String> = others.clone();
        for (at, value) in ours {
            mixed.insert(at.min(mixed.len()), format!("__Host-portcullis.{at}={value}"));
        }
        let left = jar().strip([mixed.join("; ").as_bytes()]).unwrap();
        prop_assert_eq!(left.to_str().unwrap(), others.join("; "));
        prop_assert_eq!(jar().strip([left.as_bytes()]), Some(left.clone()), "idempotent");
    }
}

/// Every bit of every byte of every cookie that a session takes, and of a ticket.
#[test]
fn no_changed_bit_opens_a_session() {
    let jar = jar();
    for session in [session(), large(4_000)] {
        let good = saved(&jar, &session);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone().into_bytes();
                bad[at] ^= 1 << bit;
                let opened = jar.read([&bad[..]]).map(|cookies| jar.open(&cookies));
                assert!(!matches!(opened, Ok(Opened::Session(_))), "bit {bit} of byte {at}");
            }
        }
        assert!(matches!(open(&jar, &good), Opened::Session(_)));
    }
    let ticket = Ticket::of(&session());
    let lines = jar.save_ticket(&ticket, Pieces::default(), Timestamp(1_000)).unwrap();
    let good = cookie_header(&lines);
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone().into_bytes();
            bad[at] ^= 1 << bit;
            let opened = jar.read([&bad[..]]).map(|cookies| jar.open_ticket(&cookies));
            assert!(!matches!(opened, Ok(OpenedTicket::Ticket(_))), "bit {bit} of byte {at}");
        }
    }
}

proptest! {
    /// Cut, doubled, moved: what is not the very cookie opens nothing.
    #[test]
    fn no_rearranged_cookie_opens_a_session(
        from in 0_usize..9_000, to in 0_usize..9_000, at in 0_usize..9_000, large_one: bool,
    ) {
        let jar = jar();
        let good = saved(&jar, &if large_one { large(4_000) } else { session() });
        let place = |place: usize| place % (good.len() + 1);
        let (from, to) = (place(from.min(to)).min(place(to)), place(from).max(place(to)));
        let mut bad = good.clone();
        bad.insert_str(place(at), &good[from..to]);
        prop_assume!(bad != good);
        let opened = jar.read([bad.as_bytes()]).map(|cookies| jar.open(&cookies));
        if let Ok(Opened::Session(_)) = opened {
            // Only where whole cookies of other names have come in between.
            let ours = |text: &str| text.split("; ").filter(|pair| {
                pair.split_once('=').is_some_and(|(name, _)| jar.owns(name.as_bytes()))
            }).map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(ours(&bad), ours(&good));
        }
        let cut = &good[..from];
        let opened = jar.read([cut.as_bytes()]).map(|cookies| jar.open(&cookies));
        let whole = from == good.len();
        prop_assert_eq!(matches!(opened, Ok(Opened::Session(_))), whole);
    }
}
