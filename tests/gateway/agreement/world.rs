//! Random requests: mostly nearly right, since only those come far.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use portcullis::{
    explain::Question,
    identity::{Identity, Proof},
    organisation::Organisation,
    permission::Permission,
    session::{self, Jar, Pieces, Session, cookie, key_ring::KeyRing},
    sts::issuer::{Issuer as AppIssuer, IssuerSettings, Mint},
    time::Timestamp,
};
use serde_json::json;

use crate::support::{ACME, Gateway, Issuer, OTHER, issuer::now};

/// `SplitMix64`: any seed will do.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// Once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

pub(super) struct World {
    /// Path patterns with their methods; none is every one.
    pub(super) routes: Vec<(String, Vec<String>)>,
    /// Values of `Authorization`.
    pub(super) credentials: Vec<String>,
    /// Values of `Cookie`.
    pub(super) cookies: Vec<String>,
}

impl World {
    pub(super) fn new(
        issuer: &Issuer,
        gateway: &Gateway,
        routes: Vec<(String, Vec<String>)>,
    ) -> Self {
        let mut credentials = Vec::new();
        for (subject, role) in [
            ("alice", "admin"),
            ("bob", "reader"),
            ("carol", "both"),
            ("dan", "issuer"),
            ("eve", "stranger"),
        ] {
            credentials.push(issuer.token(subject, role));
        }
        let changed = |name: &str, value: serde_json::Value| {
            let mut claims = issuer.claims("alice", "admin");
            claims[name] = value;
            issuer.sign(&claims)
        };
        credentials.push(changed("exp", json!(now() - 1000)));
        credentials.push(changed("nbf", json!(now() + 100_000)));
        credentials.push(changed("aud", json!("another")));
        credentials.push(changed("iss", json!("https://another.test")));
        credentials.push(changed("roles", json!("admin")));
        credentials.push(issuer.token("alice", "admin") + "AA");
        credentials.push("garbage".into());
        credentials.push("a.b.c".into());
        for (audience, organisation, permissions) in [
            ("one-core", Some(ACME), &["CREDENTIAL_LIST", "DID_LIST"][..]),
            ("one-core", Some(OTHER), &["CREDENTIAL_LIST"]),
            ("one-core", None, &[]),
            ("two-core", Some(ACME), &["CREDENTIAL_LIST"]),
        ] {
            credentials.push(app_token(gateway, audience, organisation, permissions));
        }
        let credentials = credentials.into_iter().map(|token| format!("Bearer {token}"));
        Self {
            routes,
            credentials: credentials
                .chain(["Basic eDp5".to_owned(), "Bearer".to_owned()])
                .collect(),
            cookies: cookies(issuer),
        }
    }

    pub(super) fn question(&self, chance: &mut Chance) -> Question {
        let (pattern, methods) = &self.routes[chance.below(self.routes.len())];
        let usual = ["GET", "POST", "PATCH", "PUT", "DELETE"];
        let method = if methods.is_empty() {
            chance.of(&usual)
        } else {
            &*methods[chance.below(methods.len())]
        };
        let odd = ["HEAD", "OPTIONS", "TRACE", "PROPFIND", "get", "CONNECT"];
        let method = if chance.once_in(12) { chance.of(&odd) } else { method };
        let mut question = Question {
            method: method.to_owned(),
            target: path(pattern, chance) + &query(chance),
            client: Some([127, 0, 0, 1].into()),
            ..Question::default()
        };
        question.host = Some(match chance.below(40) {
            0 => "elsewhere.test".into(),
            1 => "LOCALHOST:1".into(),
            2 => "localhost.".into(),
            3 => "local host".into(),
            4 => "localhost:port".into(),
            5..12 => "gateway.test".into(),
            _ => "localhost".into(),
        });
        let mut add = |name: &str, value: &str| {
            let (name, value) =
                (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
            question.headers.push((name, value));
        };
        match chance.below(20) {
            0..3 => {}
            3..6 => add("cookie", &self.cookies[chance.below(self.cookies.len())]),
            6..13 => add("authorization", &self.credentials[chance.below(5)]),
            13 => add("authorization", &self.credentials[13 + chance.below(4)]),
            _ => add("authorization", &self.credentials[chance.below(self.credentials.len())]),
        }
        for (times, name, value) in [
            (60, "authorization", "Bearer x"),
            (60, "cookie", "portcullis=1.AAAA"),
            (15, "accept", "text/html"),
            (20, "sec-fetch-mode", "navigate"),
            (20, "sec-fetch-mode", "cors"),
            (30, "origin", "http://localhost"),
            (30, "origin", "http://evil.test"),
            (30, "sec-fetch-site", "cross-site"),
            (8, "x-organisation", ACME),
            (20, "x-organisation", OTHER),
            (40, "x-forwarded-for", "10.1.2.3"),
            (200, "host", "localhost"),
            (300, "x-padding", &"x".repeat(33_000)),
        ] {
            if chance.once_in(times) {
                add(name, value);
            }
        }
        if matches!(method, "POST" | "PATCH" | "PUT") || chance.once_in(30) {
            let organisation = chance.of(&[ACME, ACME, ACME, OTHER, "x"]);
            let body = match chance.below(12) {
                0 => "{".to_owned(),
                1 => "[]".to_owned(),
                2 => "{}".to_owned(),
                3 => String::new(),
                4 => format!("{{\"organisationId\":\"{ACME}\",\"organisationId\":\"{OTHER}\"}}"),
                5 => format!("{{\"organisationId\":\"{ACME}\",\"x\":\"{}\"}}", "y".repeat(70_000)),
                _ => format!("{{\"name\":\"n\",\"organisationId\":\"{organisation}\"}}"),
            };
            question.body = Some(Bytes::from(body));
            if !chance.once_in(10) {
                question.headers.push((
                    http::header::CONTENT_TYPE,
                    HeaderValue::from_static("application/json"),
                ));
            }
        }
        question
    }
}

/// The pattern with its parameters filled in, sometimes in another spelling. Never with a space:
/// Pingora escapes one in the first request of a connection and refuses it in later ones.
fn path(pattern: &str, chance: &mut Chance) -> String {
    let mut path: String = pattern
        .split('/')
        .map(|segment| match segment.strip_prefix('{') {
            Some(rest) if rest.starts_with('*') => chance.of(&["a", "a/b", "", "a/"]),
            Some(_) => chance.of(&[ACME, ACME, OTHER, "x", "a-b", ""]),
            None => segment,
        })
        .collect::<Vec<_>>()
        .join("/");
    match chance.below(60) {
        0 => path.push('/'),
        1 => path.insert(0, '/'),
        2 => path = path.replacen('i', "%69", 1),
        3 => path = path.replacen("/v1", "/./v1", 1),
        4 => path = path.replacen('a', "A", 1),
        5 => path.push_str(";x"),
        6 => path.push_str("/.."),
        7 => path.push_str("%2f"),
        8 => path.push('\\'),
        9 => path.push_str("/more"),
        10 => path = path.replacen('/', "", 1),
        11 => path.push_str("#x"),
        12 => path = "/.well-known/jwks.json".into(),
        13 => path = "/.portcullis/".to_owned() + chance.of(&["login", "session", "callback", "x"]),
        14 => path = "http://localhost".to_owned() + &path,
        15 if chance.once_in(3) => path.push_str(&"x".repeat(9000)),
        16 => path.push('\u{e9}'),
        _ => {}
    }
    path
}

fn query(chance: &mut Chance) -> String {
    let named = |name: &str, value: &str| format!("?{name}={value}");
    match chance.below(20) {
        0..6 => named("organisationId", ACME),
        6 => named("organisationId", OTHER),
        7 => named("organisationId", "x"),
        8 => named("organisationIds%5B%5D", ACME),
        9 => named("organisationIds[]", OTHER),
        10 => named("organisationId", ACME) + "&organisationId=" + OTHER,
        11 => named("organis%61tionId", OTHER),
        12 => named("showSystemHistory", "true"),
        13 => named("page", "1") + "&name=a%20b",
        14 => "?".into(),
        _ => String::new(),
    }
}

fn app_token(
    gateway: &Gateway,
    audience: &str,
    organisation: Option<&str>,
    permissions: &[&str],
) -> String {
    use secrecy::ExposeSecret;
    let (_, key) = gateway.secrets.iter().find(|(name, _)| *name == "TEST_STS_KEY").unwrap();
    let issuer = AppIssuer::new(IssuerSettings {
        iss: format!("http://localhost:{}", gateway.address.port()).into(),
        keys: vec![key.clone().into()],
        lifetime: std::time::Duration::from_secs(600),
        delegated_lifetime: std::time::Duration::from_secs(600),
    });
    let mint = Mint {
        subject: &"service".into(),
        organisation: organisation.and_then(Organisation::parse),
        audience,
        permissions: &permissions.iter().filter_map(|name| Permission::parse(name)).collect(),
        actor: None,
    };
    let minted = issuer.unwrap().mint(mint, Timestamp::now(), "jti".into()).unwrap();
    minted.token.expose_secret().to_owned()
}

/// Sessions of several users, one that is over, and what is none.
fn cookies(issuer: &Issuer) -> Vec<String> {
    let key: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap());
    let settings = cookie::Settings {
        name: "portcullis".into(),
        secure: false,
        same_site: cookie::SameSite::Lax,
    };
    let jar = Jar::new(&settings, KeyRing::new(vec![key]).unwrap()).unwrap();
    let now = Timestamp::now();
    let session = |role: &str, organisation: Option<&str>, expires: Timestamp| {
        let grant = session::Grant {
            identity: Identity {
                proof: Proof::Session,
                issuer: issuer.url.as_str().into(),
                subject: "desk-user".into(),
                roles: vec![role.into()],
                organisation: None,
                permissions: None,
                actor: None,
                claims: std::sync::Arc::default(),
                expires,
                token: issuer.token("desk-user", role).into(),
            },
            name: None,
            id_token: None,
            refresh_token: None,
            provider_session: None,
            provider_ends: None,
        };
        let mut session = Session::begin(grant, now, std::time::Duration::from_secs(3600)).unwrap();
        session.organisation = organisation.and_then(Organisation::parse);
        let lines = jar.save(&session, Pieces::default(), now).unwrap();
        lines[0].to_str().unwrap().split(';').next().unwrap().to_owned()
    };
    let later = now + std::time::Duration::from_secs(300);
    vec![
        session("admin", None, later),
        session("admin", None, later),
        session("both", Some(OTHER), later),
        session("both", None, later),
        session("reader", Some(ACME), later) + "; other=1",
        session("admin", None, now - std::time::Duration::from_secs(5)),
        "portcullis=1.AAAA".into(),
        "other=1".into(),
    ]
}
