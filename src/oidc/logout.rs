//! A logout that goes on at the provider (OpenID Connect RP-Initiated Logout 1.0, section 2).

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::Provider;

/// What a logout request says.
#[derive(Clone, Copy, Debug)]
pub struct Logout<'a> {
    /// The session's ID token, also one that has expired.
    pub id_token: Option<&'a SecretString>,
    /// Where the provider sends the browser afterwards, as it is registered there.
    pub after: &'a str,
}

impl Provider {
    /// Where the browser goes to end the session at the provider. `None` when the provider has no
    /// such place, or does not answer: then the logout is ours alone.
    pub async fn end_session(self: &Arc<Self>, logout: Logout<'_>) -> Option<Url> {
        let mut url = self.discovered().await.ok()?.end_session.clone()?;
        let hint = logout.id_token.map(ExposeSecret::expose_secret);
        let hint = hint.filter(|hint| hint.len() <= LONGEST_HINT);
        let mut query = url.query_pairs_mut();
        query.append_pair("client_id", &self.settings.client_id);
        query.append_pair("post_logout_redirect_uri", logout.after);
        if let Some(hint) = hint {
            query.append_pair("id_token_hint", hint);
        }
        drop(query);
        Some(url)
    }

    /// The origin of that place, as far as it is known without asking.
    #[must_use]
    pub fn end_session_origin(&self) -> Option<String> {
        let discovered = self.current.load();
        Some(discovered.as_ref()?.end_session.as_ref()?.origin().ascii_serialization())
    }
}

/// A longer URL does not get through everywhere; the provider then asks whom to log out.
const LONGEST_HINT: usize = 4 * 1024;
