//! What stands around the servers: one program that is IAM provider and upstream, the gateway's
//! configuration, one caller's token.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use portcullis::time::Timestamp;
use serde_json::{Value, json};

use crate::{
    Way,
    client::{Client, header, length},
    counted::free_address,
};

const ORGANISATION: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
const SUBJECT: &str = "3f1d2c9e-7a44-4a54-9f7e-2f6f2b1a9c01";

pub(crate) struct Site {
    /// Provider and upstream.
    pub(crate) address: SocketAddr,
    directory: PathBuf,
    token: String,
}

impl Site {
    pub(crate) fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("warm-path-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&directory).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let issuer = Issuer::new(&format!("http://{address}"));
        let token = issuer.access_token();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let issuer = issuer.clone();
                std::thread::spawn(move || issuer.serve(stream));
            }
        });
        Self { address, directory, token }
    }

    /// The address of a gateway to be started, and the path of its configuration: that of the
    /// benchmarks beside other proxies.
    pub(crate) fn gateway_config(&self) -> (SocketAddr, String) {
        let (listen, admin) = (free_address(), free_address());
        let key = self.directory.join("sts.pem");
        let pem = |der: &[u8]| {
            format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
                STANDARD.encode(der)
            )
        };
        let pair = Ed25519KeyPair::generate_pkcs8v1(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
        fs::write(&key, pem(pair.as_ref())).unwrap();
        let text = include_str!("../../load-tests/peers/gateway.yaml");
        let values = [
            ("LISTEN", listen.port().to_string()),
            ("ADMIN", admin.port().to_string()),
            ("ISSUER", format!("http://{}", self.address)),
            ("SECRET", "secret".to_owned()),
            ("SESSION_KEY", session_key()),
            ("STS_KEY", key.display().to_string()),
            ("ORGANISATION", ORGANISATION.to_owned()),
            ("ROLE", "organization_admin".to_owned()),
            ("UPSTREAM", self.address.port().to_string()),
            ("DIRECTORY", self.directory.display().to_string()),
        ];
        let text = values
            .iter()
            .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value));
        let path = self.directory.join("gateway.yaml");
        fs::write(&path, text).unwrap();
        (listen, path.display().to_string())
    }

    /// The bytes of a request; with a way, as the gateway's client sends it there.
    pub(crate) fn request(&self, way: Option<(Way, &str)>) -> String {
        let path = match way {
            Some((Way::Public, _)) => "/ssi/v1",
            _ => "/api/credential/v1",
        };
        let credential = match way {
            Some((Way::Session, cookie)) => format!("Cookie: {cookie}\r\n"),
            Some((Way::Bearer, _)) | None => format!("Authorization: Bearer {}\r\n", self.token),
            Some((Way::Public, _)) => String::new(),
        };
        format!(
            "GET {path}?organisationId={ORGANISATION} HTTP/1.1\r\nHost: 127.0.0.1\r\n{credential}\r\n"
        )
    }

    /// Logs in at the gateway, as a browser does; the session's cookie.
    pub(crate) fn log_in(&self, gateway: SocketAddr) -> String {
        let start = "GET /api/credential/v1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\
                     Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n\r\n";
        let mut client = Client::new(gateway, start.to_owned());
        let answer = client.once().to_owned();
        let parameter = |name: &str| {
            let location = header(&answer, "location").unwrap();
            let url = url::Url::parse(location).unwrap();
            let found = url.query_pairs().find(|(key, _)| key == name);
            found.map(|(_, value)| value.into_owned()).unwrap_or_default()
        };
        let callback = url::Url::parse(&parameter("redirect_uri")).unwrap();
        // The provider gives a code that is the nonce itself, and needs no memory.
        let (code, state) = (parameter("nonce"), parameter("state"));
        let request = format!(
            "GET {}?code={code}&state={state}&iss=http://{} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {}\r\n\
             Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n\r\n",
            callback.path(),
            self.address,
            cookies(&answer),
        );
        let answer = Client::new(gateway, request).once().to_owned();
        let cookies = cookies(&answer);
        assert!(!cookies.is_empty(), "no session: {answer}");
        cookies
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// What an answer sets, as it is sent back.
fn cookies(answer: &str) -> String {
    let set = answer.lines().filter_map(|line| line.split_once(':')).filter_map(|(name, value)| {
        let pair = value.split(';').next()?.trim();
        (name.eq_ignore_ascii_case("set-cookie") && !pair.ends_with('=')).then_some(pair)
    });
    set.collect::<Vec<_>>().join("; ")
}

fn session_key() -> String {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).unwrap();
    STANDARD.encode(key)
}

/// The provider, which is the upstream too.
#[derive(Clone)]
struct Issuer {
    url: String,
    key: EncodingKey,
    public: String,
    upstream: String,
}

impl Issuer {
    fn new(url: &str) -> Self {
        let document =
            Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        Self {
            url: url.to_owned(),
            key: EncodingKey::from_ed_der(document.as_ref()),
            public: URL_SAFE_NO_PAD.encode(pair.public_key()),
            upstream: json!({ "values": vec!["0123456789abcdef".repeat(4); 14] }).to_string(),
        }
    }

    /// Answers until the other side leaves.
    fn serve(&self, mut stream: TcpStream) {
        let mut read = Vec::new();
        let mut piece = [0; 8 * 1024];
        loop {
            let text = String::from_utf8_lossy(&read).into_owned();
            let whole =
                text.split_once("\r\n\r\n").filter(|(head, body)| body.len() >= length(head));
            if let Some((head, body)) = whole {
                let answer = self.answer(head, body);
                read.clear();
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
                continue;
            }
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => return,
                Ok(length) => read.extend_from_slice(piece.get(..length).unwrap()),
            }
        }
    }

    fn answer(&self, head: &str, body: &str) -> String {
        let path = head.split([' ', '?']).nth(1).unwrap_or_default();
        let body = match path {
            "/.well-known/openid-configuration" => self.document().to_string(),
            "/jwks" => json!({ "keys": [{
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "1", "x": self.public,
            }] })
            .to_string(),
            "/token" => {
                let form: Vec<(String, String)> =
                    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
                let code = form.iter().find(|(name, _)| name == "code");
                self.tokens(code.map_or("", |(_, nonce)| nonce)).to_string()
            }
            _ => self.upstream.clone(),
        };
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn document(&self) -> Value {
        let url = &self.url;
        json!({
            "issuer": url,
            "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"),
            "jwks_uri": format!("{url}/jwks"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["EdDSA"],
            "code_challenge_methods_supported": ["S256"],
        })
    }

    fn tokens(&self, nonce: &str) -> Value {
        let now = now();
        json!({
            "access_token": self.access_token(),
            "id_token": self.sign(&json!({
                "iss": self.url, "sub": SUBJECT, "aud": "desk", "nonce": nonce,
                "iat": now, "exp": now + 3_600, "auth_time": now,
            })),
            "refresh_token": "refresh",
            "token_type": "Bearer",
            "expires_in": 3_600,
        })
    }

    fn access_token(&self) -> String {
        let now = now();
        self.sign(&json!({
            "iss": self.url, "sub": SUBJECT, "aud": "procivis-one-platform", "azp": "desk",
            "iat": now, "exp": now + 3_600, "jti": uuid::Uuid::new_v4(), "typ": "Bearer",
            "scope": "openid profile offline_access", "preferred_username": "alice",
            "name": "Alice Admin",
            "roles": ["organization_admin", "offline_access", "default-roles-one"],
        }))
    }

    fn sign(&self, claims: &Value) -> String {
        let mut head = Header::new(Algorithm::EdDSA);
        head.kid = Some("1".to_owned());
        jsonwebtoken::encode(&head, claims, &self.key).unwrap()
    }
}

fn now() -> u64 {
    Timestamp::now().0
}
