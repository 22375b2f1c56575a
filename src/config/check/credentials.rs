//! The provider, sessions and the token service: what they need, and whether keys are keys.

use std::{collections::BTreeSet, time::Duration};

use super::{Draft, Notes, network::plain_text, path};
use crate::{
    config::{
        key_path::KeyPath,
        sections::{
            ClientAuthentication, Exchange, ExchangeProtocol, ExchangeTemplate, Iam, Issuer, Redis,
            SameSite, Session, SessionStore,
        },
        types::{PathPattern, RedisUrl, Secret, is_pointer, is_token},
    },
    sts::{
        endpoint,
        parameter::{Resource, Scope},
        template::Template,
    },
};

/// Fewer different bytes than this in 32 are typed, not drawn: by chance it happens less than
/// once in 10^45.
const DISTINCT_BYTES: usize = 8;

pub(super) fn report(draft: &Draft, notes: &mut Notes<'_, '_>) {
    if let Some(each) = draft.iam.get() {
        iam(each, notes);
    }
    if let Some(each) = draft.session.get() {
        session(each, draft, notes);
    }
    if draft.sts_given {
        sts(draft, notes);
    }
}

fn iam(iam: &Iam, notes: &mut Notes<'_, '_>) {
    let here = path("iam");
    plain_text(iam.issuer.url(), iam.plaintext, &here.key("issuer"), "iam.plaintext", notes);
    if let Some(introspection) = &iam.introspection {
        let at = here.key("introspection").key("url");
        plain_text(&introspection.url, iam.plaintext, &at, "iam.plaintext", notes);
    }
    if iam.audience.is_empty() {
        notes.fault(&here.key("audience"), "is empty; any token of the provider would do");
    }
    if iam.algorithms.is_empty() {
        notes.fault(&here.key("algorithms"), "names no algorithm; no token would be accepted");
    }
    if !is_pointer(&iam.roles) {
        notes.fault(&here.key("roles"), "must be a JSON pointer such as /realm_access/roles");
    }
    notes.above_zero(&here, &[("jwks_refresh", iam.jwks_refresh)]);
    if let Some(client) = &iam.client {
        let here = here.key("client");
        oauth_client(client.secret.as_ref(), client.authentication, &here, notes);
        if !client.scopes.iter().any(|scope| scope == "openid") {
            notes.fault(&here.key("scopes"), "lacks openid; the provider would send no ID token");
        }
    }
}

/// A client that says how it authenticates has to have what that takes.
pub(super) fn oauth_client(
    secret: Option<&Secret>,
    authentication: Option<ClientAuthentication>,
    here: &KeyPath,
    notes: &mut Notes<'_, '_>,
) {
    use ClientAuthentication::{Basic, None as Public, Post, PrivateKeyJwt};
    match (authentication, secret) {
        (Some(how @ (Basic | Post | PrivateKeyJwt)), None) => {
            notes.fault(&here.key("authentication"), format!("{} needs secret", how.as_str()));
        }
        (Some(Public), Some(_)) => {
            notes.fault(&here.key("secret"), "is never used when authentication is none");
        }
        _ => {}
    }
}

fn session(session: &Session, draft: &Draft, notes: &mut Notes<'_, '_>) {
    let here = path("session");
    let prefix = &session.prefix;
    let canonical = PathPattern::parse(prefix).is_ok() && !prefix.contains(['{', '}']);
    if !canonical || prefix.ends_with('/') {
        notes.fault(
            &here.key("prefix"),
            "must be a path such as /.portcullis, without `/` at its end",
        );
    }
    if !is_token(&session.cookie) {
        notes.fault(&here.key("cookie"), "is no cookie name; use letters, digits, `-` and `_`");
    } else if session.cookie.to_ascii_lowercase().starts_with("__") {
        notes.fault(&here.key("cookie"), "must not begin with `__`; the gateway adds the prefix");
    }
    if let (SameSite::None, Some(public)) = (session.same_site, draft.public_url.get())
        && !public.is_https()
    {
        notes.fault(&here.key("same_site"), "none needs a public_url of https; browsers drop it");
    }
    let after = &session.after_logout;
    let path_alone = after.starts_with('/')
        && !after.starts_with("//")
        && !after.contains(|c: char| c == '\\' || c.is_control());
    if !path_alone {
        notes.fault(&here.key("after_logout"), "must be a path of this origin, such as /");
    }
    let (idle, absolute) = (session.idle_timeout, session.absolute_timeout);
    notes.above_zero(&here, &[("idle_timeout", idle), ("absolute_timeout", absolute)]);
    if idle > absolute {
        let message = "is longer than absolute_timeout, so it would never end a session";
        notes.fault(&here.key("idle_timeout"), message);
    }
    session_keys(&session.keys, &here.key("keys"), notes);
    if let SessionStore::Redis(redis) = &session.store {
        session_store(redis, &here.key("store").key("redis"), notes);
    }
    for (route, declared) in draft.routes() {
        let pattern = declared.path.as_str();
        if pattern
            .strip_prefix(prefix.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        {
            let place = notes.root.nearest(&here.key("prefix"));
            let message = format!(
                "can never match: it lies under session.prefix ({prefix}, {place}), which the \
                 gateway answers itself"
            );
            notes.fault(&route.key("path"), message);
        }
    }
}

fn session_store(redis: &Redis, here: &KeyPath, notes: &mut Notes<'_, '_>) {
    let at = here.key("url");
    let url = match RedisUrl::parse(redis.url.expose()) {
        Ok(url) => url,
        Err(error) => return notes.fault(&at, error.to_string()),
    };
    if !url.tls && !url.is_local() && !redis.plaintext {
        let message = "goes to another machine without TLS; write rediss, or say so with \
                       session.store.redis.plaintext: true";
        notes.fault(&at, message);
    }
    if !url.tls && redis.ca.is_some() {
        notes.fault(&here.key("ca"), "is never used; the url is not one of TLS (rediss)");
    }
}

/// No fault says anything of what the key is, only of what it is not.
fn session_keys(keys: &[Secret], here: &KeyPath, notes: &mut Notes<'_, '_>) {
    if notes.is_written_empty(here) {
        notes.fault(here, "names no key; make one with `portcullis keys generate session`");
    }
    let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
    for (at, key) in keys.iter().enumerate() {
        let fault = match key.decoded() {
            None => "is not base64; make one with `portcullis keys generate session`",
            Some(bytes) if bytes.len() != 32 => {
                "is not 32 bytes; make one with `portcullis keys generate session`"
            }
            Some(bytes) if bytes.iter().collect::<BTreeSet<_>>().len() < DISTINCT_BYTES => {
                "is weak; make one with `portcullis keys generate session`"
            }
            Some(bytes) => {
                if seen.insert(bytes) {
                    continue;
                }
                "is the same key as an earlier one"
            }
        };
        notes.fault(&here.index(at), fault);
    }
}

fn sts(draft: &Draft, notes: &mut Notes<'_, '_>) {
    let here = path("sts");
    match (draft.exchange.is_absent(), draft.issuer.is_absent()) {
        (true, true) => notes.fault(&here, "needs exchange or issuer"),
        (false, false) => notes.fault(&here, "has both exchange and issuer; keep one of them"),
        _ => {}
    }
    if let Some(each) = draft.exchange.get() {
        exchange(each, &here.key("exchange"), notes);
    }
    if let Some(each) = draft.issuer.get() {
        issuer(each, draft, &here.key("issuer"), notes);
    }
    if let Some(cache) = draft.cache.get() {
        notes.at_least_one(&here.key("cache"), &[("entries", cache.entries)]);
    }
    if let Some(breaker) = draft.breaker.get() {
        let here = here.key("breaker");
        notes.at_least_one(&here, &[("failures", breaker.failures.into())]);
        notes.above_zero(&here, &[("open", breaker.open)]);
    }
}

fn exchange(exchange: &Exchange, here: &KeyPath, notes: &mut Notes<'_, '_>) {
    let word = "sts.exchange.plaintext";
    plain_text(&exchange.url, exchange.plaintext, &here.key("url"), word, notes);
    plain_text(&exchange.jwks, exchange.plaintext, &here.key("jwks"), word, notes);
    notes.above_zero(here, &[("timeout", exchange.timeout)]);
    if exchange.issuer.is_empty() {
        notes.fault(&here.key("issuer"), "is empty; no issued token would be accepted");
    }
    if let Some(client) = &exchange.client {
        let here = here.key("client");
        oauth_client(client.secret.as_ref(), client.authentication, &here, notes);
    }
    if let Some(Err(fault)) = exchange.scope.as_deref().map(Scope::parse) {
        notes.fault(&here.key("scope"), fault.to_string());
    }
    if let Some(Err(fault)) = exchange.resource.as_deref().map(Resource::parse) {
        notes.fault(&here.key("resource"), fault.to_string());
    }
    match (exchange.protocol, &exchange.template) {
        (ExchangeProtocol::Rfc8693, None) => {}
        (ExchangeProtocol::Rfc8693, Some(_)) => {
            notes.fault(&here.key("template"), "is never used; write protocol: template");
        }
        (ExchangeProtocol::Template, None) => {
            notes.fault(&here.key("protocol"), "template needs the key template beside it");
        }
        (ExchangeProtocol::Template, Some(written)) => template(exchange, written, here, notes),
    }
}

fn template(
    exchange: &Exchange,
    written: &ExchangeTemplate,
    here: &KeyPath,
    notes: &mut Notes<'_, '_>,
) {
    use ClientAuthentication::{Post, PrivateKeyJwt};
    for fault in Template::parse(written.written()).err().into_iter().flatten() {
        notes.fault(&here.key("template").key(fault.key), fault.message);
    }
    for key in ["parameters", "resource", "requested_token_type"] {
        if notes.root.at(&here.key(key)).is_some_and(|node| !node.is_null()) {
            notes.fault(&here.key(key), "is of RFC 8693, and never used with protocol: template");
        }
    }
    let how = exchange.client.as_ref().and_then(|client| client.authentication);
    if let Some(how @ (Post | PrivateKeyJwt)) = how {
        let message = format!(
            "{} writes into a form of RFC 6749, and the body is the template's; use \
             client_secret_basic or none",
            how.as_str()
        );
        notes.fault(&here.key("client").key("authentication"), message);
    }
}

fn issuer(issuer: &Issuer, draft: &Draft, here: &KeyPath, notes: &mut Notes<'_, '_>) {
    if issuer.iss.is_empty() {
        notes.fault(&here.key("iss"), "is empty");
    }
    let lives = [("lifetime", issuer.lifetime), ("delegated_lifetime", issuer.delegated_lifetime)];
    notes.above_zero(here, &lives);
    // Tokens this close to their end are not handed out; none would ever be far enough from it.
    let margin = match &draft.cache {
        super::Part::Read(cache) => cache.margin,
        super::Part::Absent => Duration::from_secs(15),
        super::Part::Faulty => Duration::ZERO,
    };
    for (key, life) in lives {
        if !life.is_zero() && life <= margin {
            notes.fault(&here.key(key), "must be longer than sts.cache.margin");
        }
    }
    for (route, declared) in draft.routes().filter(|_| issuer.endpoint) {
        if declared.path.as_str() == endpoint::PATH {
            let message = "is answered by the gateway itself, since sts.issuer.endpoint is true";
            notes.fault(&route.key("path"), message);
        }
    }
    let keys = here.key("keys");
    if notes.is_written_empty(&keys) {
        notes.fault(&keys, "names no key; make one with `portcullis keys generate issuer`");
    }
    let mut seen = BTreeSet::new();
    for (at, key) in issuer.keys.iter().enumerate() {
        if !key.expose().contains("-----BEGIN PRIVATE KEY-----") {
            let message = "is no PKCS#8 private key in PEM (`BEGIN PRIVATE KEY`); make one with \
                           `portcullis keys generate issuer`";
            notes.fault(&keys.index(at), message);
        } else if !seen.insert(key.expose()) {
            notes.fault(&keys.index(at), "is the same key as an earlier one");
        }
    }
}
