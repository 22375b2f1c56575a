//! Tokens and sessions for callers who are described by claims.
//!
//! The tokens are real and the key is good for nothing: it is made with the [`Voucher`], signs in
//! its memory alone, and only the parts that [`super::Explainer`] keeps beside the serving ones
//! trust it.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, header};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::{
    admission::State,
    authentication::Accepted,
    bearer::KeySet,
    config::Config,
    organisation::Organisation,
    session::{self, Pieces, Session},
    sts::issuer::{self, Issuer, IssuerSettings},
    time::Timestamp,
};

/// Kinds of token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Of the IAM provider.
    #[default]
    Iam,
    /// Of the token service.
    App,
}

/// Why a question cannot be put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswerable(String);

impl Unanswerable {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Unanswerable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unanswerable {}

/// Makes tokens for claims.
pub(super) struct Voucher {
    key: EncodingKey,
    header: Header,
    keys: Arc<KeySet>,
    iam: Option<Addressed>,
    app_issuer: Option<String>,
}

/// From whom, and for whom.
struct Addressed {
    issuer: String,
    audience: String,
}

impl Voucher {
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let pem = issuer::generate().map_err(|error| error.to_string())?;
        let key = EncodingKey::from_ed_pem(pem.expose_secret().as_bytes())
            .map_err(|error| error.to_string())?;
        // Only for its key set; it mints nothing.
        let public = Issuer::new(IssuerSettings {
            iss: "".into(),
            keys: vec![pem],
            lifetime: Duration::ZERO,
            delegated_lifetime: Duration::ZERO,
        })
        .map_err(|error| error.to_string())?;
        let keys = KeySet::parse(&public.jwks_document(), &[Algorithm::EdDSA])
            .map_err(|error| error.to_string())?;
        let keys = Arc::new(keys);
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(public.kid().to_string());
        let iam = config.iam.as_ref().map(|iam| Addressed {
            issuer: iam.issuer.as_str().to_owned(),
            audience: iam.audience.clone(),
        });
        let app_issuer = config.sts.as_ref().and_then(|sts| {
            let own = sts.issuer.as_ref().map(|issuer| issuer.iss.as_str().to_owned());
            own.or_else(|| sts.exchange.as_ref().map(|other| other.issuer.as_str().to_owned()))
        });
        Ok(Self { key, header, keys, iam, app_issuer })
    }

    /// The one key with which the tokens are signed.
    pub(super) fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys)
    }

    /// A token with these claims; those that every token has are filled in where they are missing.
    pub(super) fn token(
        &self,
        kind: Kind,
        claims: &Map<String, Value>,
        app_audience: Option<&str>,
        now: Timestamp,
    ) -> Result<SecretString, Unanswerable> {
        let mut claims = claims.clone();
        let mut fill = |name: &str, value: Option<Value>| {
            if let (false, Some(value)) = (claims.contains_key(name), value) {
                claims.insert(name.to_owned(), value);
            }
        };
        let (issuer, audience) = match (kind, &self.iam, &self.app_issuer) {
            (Kind::Iam, Some(iam), _) => (&*iam.issuer, Some(&*iam.audience)),
            (Kind::App, _, Some(issuer)) => (&**issuer, app_audience),
            (Kind::Iam, None, _) => return Err(Unanswerable::new("no IAM provider is configured")),
            (Kind::App, _, None) => {
                return Err(Unanswerable::new("no token service is configured"));
            }
        };
        fill("iss", Some(issuer.into()));
        fill("aud", audience.map(Value::from));
        fill("sub", Some("nobody-in-particular".into()));
        fill("exp", Some((now + LIFETIME).0.into()));
        let token = jsonwebtoken::encode(&self.header, &claims, &self.key)
            .map_err(|error| Unanswerable::new(format!("the claims make no token: {error}")))?;
        Ok(token.into())
    }

    /// The cookies of a browser whose user logged in with an IAM token of these claims, a moment
    /// ago or, where the token is over by now, at its end.
    pub(super) async fn session(
        &self,
        vouching: &State,
        claims: &Map<String, Value>,
        organisation: Option<Organisation>,
        now: Timestamp,
    ) -> Result<(HeaderName, HeaderValue), Unanswerable> {
        let browsers = vouching
            .browsers
            .as_ref()
            .ok_or_else(|| Unanswerable::new("no browser sessions are configured"))?;
        let token = self.token(Kind::Iam, claims, None, now)?;
        let ends = claims.get("exp").and_then(Value::as_u64).map_or(now, Timestamp);
        let login = now.min(ends);
        let none = |why: &dyn fmt::Display| {
            Unanswerable::new(format!("nobody can have a session with these claims: {why}"))
        };
        let accept = Accepted { iam: true, app: None };
        let identity = vouching
            .authenticator
            .bearer(&token, accept, login)
            .await
            .map_err(|refusal| none(&refusal.detail))?;
        let grant = session::Grant {
            identity: (*identity).clone(),
            name: None,
            id_token: None,
            refresh_token: None,
            provider_session: None,
            provider_ends: None,
        };
        let absolute = browsers.sessions.limits().absolute;
        let mut session = Session::begin(grant, login, absolute).map_err(|e| none(&e))?;
        session.organisation = organisation;
        let lines = browsers
            .sessions
            .jar()
            .save(&session, Pieces::default(), login)
            .map_err(|error| none(&error))?;
        let pairs = lines.iter().filter_map(|line| line.to_str().ok()?.split(';').next());
        let cookies = pairs.collect::<Vec<_>>().join("; ");
        let value = HeaderValue::try_from(cookies).map_err(|error| none(&error))?;
        Ok((header::COOKIE, sensitive(value)))
    }
}

/// `Authorization` with a bearer token.
pub(super) fn bearer(token: &SecretString) -> Result<(HeaderName, HeaderValue), Unanswerable> {
    let token = token.expose_secret();
    let value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| Unanswerable::new("the token has characters that no header can carry"))?;
    Ok((header::AUTHORIZATION, sensitive(value)))
}

fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// How long a described caller's token lasts, unless the claims say.
const LIFETIME: Duration = Duration::from_mins(5);
