//! What a configuration makes of one token, whatever request it comes with.

use std::{collections::BTreeSet, sync::Arc};

use secrecy::SecretString;

use super::Explainer;
use crate::{
    authentication::Accepted, credential::Demand, identity::Identity, refusal::Refusal,
    time::Timestamp,
};

/// Whether a token counts as one thing.
pub struct Judgement {
    /// As what: `IAM token`, or `app token for AUDIENCE`.
    pub kind: String,
    /// Whose it is, or why it does not count.
    pub verdict: Result<Arc<Identity>, Refusal>,
}

impl Explainer {
    /// Judges a token as everything that it could be here, by the code that serves and with the
    /// issuers' keys, which are fetched as `run` does.
    pub async fn judge(&self, token: &SecretString, now: Timestamp) -> Vec<Judgement> {
        let state = &self.serving.state;
        let mut judgements = Vec::new();
        if self.serving.iam_keys.is_some() {
            let accept = Accepted { iam: true, app: None };
            let verdict = state.authenticator.bearer(token, accept, now).await;
            judgements.push(Judgement { kind: "IAM token".to_owned(), verdict });
        }
        let audiences: BTreeSet<&str> = state
            .upstreams
            .iter()
            .filter_map(|upstream| match upstream.demand() {
                Demand::AppToken(audience) if state.sts.is_some() => Some(&**audience),
                _ => None,
            })
            .collect();
        for audience in audiences {
            let accept = Accepted { iam: false, app: Some(audience) };
            let verdict = state.authenticator.bearer(token, accept, now).await;
            judgements.push(Judgement { kind: format!("app token for {audience}"), verdict });
        }
        judgements
    }
}
