//! The exchange endpoint's decision: who asks, in which organisation, and what they get there.

use std::sync::Arc;

use crate::{
    admission::State,
    authentication::Accepted,
    identity::Identity,
    organisation::Organisation,
    permission::PermissionSet,
    policy::{self, Rights},
    refusal::Reason,
    sts::{
        Actor, AppToken, Ask,
        endpoint::{self, Asked, Fault},
    },
    telemetry::record::Facts,
    time::Timestamp,
};

/// What is noted when the endpoint has issued a token.
const EVENT: &str = "token_exchange";

impl State {
    /// Exchanges an IAM token for an app token for one of `audiences`, noting what it learns. With
    /// an actor token it is a delegated one, which carries what the actor may do on behalf of its
    /// subject.
    ///
    /// # Errors
    /// A [`Fault`] for everything that is not granted.
    pub async fn exchange(
        &self,
        asked: &Asked,
        audiences: &[Arc<str>],
        facts: &mut Facts,
        now: Timestamp,
    ) -> Result<Arc<AppToken>, Fault> {
        let audience = match (asked.audience.as_deref(), audiences) {
            (Some(named), _) => audiences.iter().find(|known| ***known == *named),
            (None, [only]) => Some(only),
            (None, _) => return Err(endpoint::malformed("audience is missing")),
        };
        let unknown = endpoint::no_target("no upstream has this audience");
        let audience = audience.ok_or(unknown)?;
        facts.audience = Some(Arc::clone(audience));
        // Only IAM tokens: an app token is never exchanged again (R34).
        let accept = Accepted { iam: true, app: None };
        let identity = self.authenticator.bearer(&asked.subject_token, accept, now).await;
        let identity = identity.map_err(|refusal| Fault::from_refusal(&refusal))?;
        facts.caller(&identity);
        let actor = match &asked.actor_token {
            None => None,
            Some(token) => {
                let actor = self.authenticator.bearer(token, accept, now).await;
                Some(actor.map_err(|refusal| Fault::of_actor(&refusal))?)
            }
        };
        facts.actor = actor.as_ref().map(|actor| Arc::clone(&actor.subject));
        let (organisation, mut held) = self.held(&identity, asked.organisation)?;
        facts.organisation = Some(organisation);
        if let Some(actor) = &actor {
            let held_by_actor = policy::on_behalf(&identity, actor, organisation, self.rights());
            held = Arc::new(held_by_actor.map_err(|refusal| Fault::from_refusal(&refusal))?);
        }
        let actor = actor.as_deref().map(Actor::of);
        let permissions = match &asked.permissions {
            None => (*held).clone(),
            Some(wanted) => held.intersection(wanted),
        };
        if permissions.is_empty() && asked.permissions.is_some() {
            return Err(endpoint::no_scope("the caller holds nothing of the scope here"));
        }
        let ask = Ask {
            identity: &identity,
            actor: actor.as_ref(),
            organisation: Some(organisation),
            audience,
            permissions: &permissions,
            scope: None,
        };
        let Some(sts) = &self.sts else {
            return Err(endpoint::malformed("there is no token service"));
        };
        let served = sts.app_token(ask, now).await;
        let token = served.map_err(|refusal| Fault::from_refusal(&refusal))?.token;
        facts.token_id.clone_from(&token.issued.id);
        facts.event = Some(EVENT);
        Ok(token)
    }

    /// The organisation that is named, else the only one in which the caller has a role; and what
    /// they hold there.
    fn held(
        &self,
        identity: &Identity,
        named: Option<Organisation>,
    ) -> Result<(Organisation, Arc<PermissionSet>), Fault> {
        let none = || endpoint::no_grant(Reason::RoleMissing, "no role counts in any organisation");
        let Rights::Roles { map, .. } = self.rights() else { return Err(none()) };
        let organisation = match (named, &*map.organisations_of(&identity.roles)) {
            (Some(named), _) => named,
            (None, [only]) => *only,
            (None, []) => return Err(none()),
            (None, _) => {
                let why = "organisationId is missing and the caller has several";
                return Err(Fault::new("invalid_request", Reason::OrganisationMissing, why));
            }
        };
        let not_theirs = "the caller has no role in this organisation";
        map.permissions(&identity.roles, organisation)
            .map(|held| (organisation, held))
            .ok_or(endpoint::no_grant(Reason::OrganisationMismatch, not_theirs))
    }
}
