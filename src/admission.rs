//! The way of a request from its trusted view to a decision, with everything that the decision
//! needs and nothing of the framework that carries the request.
//!
//! [`State`] is one configuration at work, whole: a request begins and ends under the same one.
//! A request is first identified ([`State::identify`]: which route, who asks), then decided
//! ([`State::decide`]): in between, and only for an authenticated caller, the server reads the
//! body where the route looks into it. The second half of deciding is [`State::judge`], which asks
//! nobody and waits for nothing, and the credential. `explain` takes the same way, as far as it
//! goes without asking a token service, and listens to it ([`crate::step`]).

mod caller;
mod exchange;
mod extension;
mod lookup;
mod own_endpoint;
mod rate;

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;

use self::caller::Caller;
pub(crate) use self::lookup::Looked;
pub use self::{
    own_endpoint::{JWKS_PATH, OwnEndpoint},
    rate::Rates,
};
use crate::{
    authentication::Authenticator,
    certificate::CertificateName,
    credential::{self, ActAs, Credential, Sources},
    extension::{Authenticator as OfExtension, Extensions},
    identity::Identity,
    login::{Choice, Login, Standing},
    lookup::{Lookup, Lookups},
    organisation::{
        Organisation, body, invalid,
        place::{self, Named, Parts, Place},
    },
    policy::{self, Authentication, Decision, Permit, Policy, Rights, condition::Asked},
    rate_limit::Rate,
    refusal::{Reason, Refusal},
    request::{Rules, TrustedRequest, declared_body},
    roles::RoleMap,
    route::{Match, RouteTable},
    session::Shared,
    sessions::{PendingCookies, Sessions},
    step::{Step, Trace},
    sts::Sts,
    technical_user::TechnicalUser,
    telemetry::record::{Facts, Verdict},
    time::Timestamp,
    upstream::Upstream,
};

/// One configuration at work.
pub struct State {
    /// What every head is held against.
    pub rules: Rules,
    /// The host of the public origin.
    pub public_host: Box<str>,
    /// The public origin without its scheme, which is what upstreams see as Host.
    pub public_authority: Box<str>,
    /// What is reachable.
    pub routes: RouteTable<Arc<Target>>,
    /// Every upstream.
    pub upstreams: Vec<Arc<Upstream>>,
    /// What browsers need, where they are served.
    pub browsers: Option<Browsers>,
    /// Bearer tokens.
    pub authenticator: Authenticator,
    /// Who shows a certificate of this name is that technical user.
    pub certificates: HashMap<CertificateName, Arc<TechnicalUser>>,
    /// IAM roles and what they permit, where that is known here.
    pub roles: Option<RoleMap>,
    /// Whether minted tokens carry every permission held.
    pub carry_all: bool,
    /// The token service.
    pub sts: Option<Sts>,
    /// Between two pieces of a request's body.
    pub body_timeout: Duration,
    /// Whether nothing is served without its audit record.
    pub audit_required: bool,
    /// How often anybody may ask.
    pub rates: Arc<Rates>,
    /// Whose resources of upstreams are that keep no organisations apart.
    pub lookups: Arc<Lookups>,
    /// For which audiences our exchange endpoint issues tokens, when it is on.
    pub exchange: Option<Arc<[Arc<str>]>>,
    /// What is the program's own.
    pub extensions: Arc<Extensions>,
}

/// What browsers need.
pub struct Browsers {
    /// Their sessions.
    pub sessions: Arc<Sessions>,
    /// Our own endpoints.
    pub login: Login,
}

/// What a route leads to.
#[derive(Clone)]
pub struct Target {
    /// Its pattern, as records show it.
    pub label: Arc<str>,
    /// What it demands.
    pub policy: Policy,
    /// Authenticators of extensions that count here; `None` almost everywhere.
    pub(crate) authenticators: Option<Arc<[OfExtension]>>,
    /// Where a request names its organisation.
    pub places: Vec<Named>,
    /// What is asked where a request names a resource and no organisation.
    pub lookups: Vec<Arc<Lookup>>,
    /// Who answers.
    pub upstream: Arc<Upstream>,
    /// In whose name it is called.
    pub act_as: ActAs,
    /// How often one caller may ask.
    pub rate: Option<Rate>,
    /// Bytes of a request body.
    pub body: u64,
    /// In place of the upstream's time-outs.
    pub read: Option<Duration>,
    /// In place of the upstream's time-outs.
    pub write: Option<Duration>,
    /// Whether a client may make a WebSocket of its connection.
    pub websocket: bool,
}

/// What goes on to the upstream, and with what.
pub struct Grant {
    /// Who answers, and how.
    pub target: Arc<Target>,
    /// What allows it.
    pub permit: Permit,
    /// The credential.
    pub credential: Credential,
    /// The caller's session, where it was one.
    pub session: Option<Arc<Shared>>,
    /// Path and query with the organisation written into them, where the request left it out.
    pub new_target: Option<Box<str>>,
    /// The body with the organisation written into it.
    pub new_body: Option<Bytes>,
}

/// The outcome for a request that is not refused.
pub enum Admitted {
    /// It goes on.
    Forward(Box<Grant>),
    /// A person has to log in first.
    Login,
}

/// A request that may go on, before its credential is had.
pub(crate) struct Allowed {
    pub(crate) target: Arc<Target>,
    pub(crate) permit: Permit,
    session: Option<Arc<Shared>>,
    pub(crate) new_target: Option<Box<str>>,
    pub(crate) new_body: Option<Bytes>,
}

/// A request whose route and caller are known.
pub struct Identified<'t, 'p> {
    found: Match<'t, 'p, Arc<Target>>,
    caller: Caller,
}

impl Identified<'_, '_> {
    /// Whether the upstream is asked whose the request's resources are.
    #[must_use]
    pub(crate) fn asks_the_upstream(&self) -> bool {
        !self.found.route.lookups.is_empty()
    }

    /// Bytes of the body that have to be read for the decision; `None` when it can do without,
    /// as it can for whoever will be turned away anyhow.
    #[must_use]
    pub fn needs_body(&self) -> Option<usize> {
        let is_known = matches!(self.caller.authentication, Authentication::Authenticated(_));
        let target = self.found.route;
        let looked_into = target.places.iter().any(Named::is_in_body)
            || target.lookups.iter().any(|lookup| lookup.template.is_in_body());
        (is_known && looked_into)
            .then(|| usize::try_from(target.body).unwrap_or(usize::MAX).min(body::LARGEST))
    }
}

impl State {
    /// Finds a request's route and who asks; `trace` listens.
    ///
    /// # Errors
    /// No such route, credentials that have two readings, or an IAM provider that is away. A
    /// caller who fails to authenticate is refused by [`State::decide`].
    #[expect(clippy::too_many_arguments, reason = "what it looks at, what it notes, who listens")]
    pub(crate) async fn identify<'t, 'p>(
        &'t self,
        request: &'p TrustedRequest,
        headers: &HeaderMap,
        facts: &mut Facts,
        route_index: &mut Option<usize>,
        cookies: &mut PendingCookies,
        now: Timestamp,
        trace: &mut (impl Trace + Send),
    ) -> Result<Identified<'t, 'p>, Refusal> {
        trace.enter(Step::Route);
        let found = self.routes.find(&request.host, &request.method, request.path())?;
        let target = found.route;
        trace.found(|| format!("{} to upstream {}", target.label, target.upstream.name()));
        *route_index = Some(found.index);
        facts.route = Some(Arc::clone(&target.label));
        facts.upstream = Some(Arc::clone(target.upstream.name()));
        trace.enter(Step::Authentication);
        let caller = self.authenticate(target, request, headers, cookies, now).await?;
        match &caller.authentication {
            Authentication::Authenticated(identity) => {
                facts.caller(identity);
                trace.found(|| identity.to_string());
            }
            _ if target.policy.public => {
                trace.found(|| "public: no credential is looked at".to_owned());
            }
            Authentication::NotPresented | Authentication::Failed { .. } => {}
        }
        Ok(Identified { found, caller })
    }

    /// Decides an identified request and gets its credential. `body` is whole where
    /// [`Identified::needs_body`] asks for it, and `None` when the request has none. `trace`
    /// listens.
    ///
    /// # Errors
    /// Every refusal of the table but those of the trusted view and of the upstream.
    #[expect(clippy::too_many_arguments, reason = "what a decision looks at, and who listens")]
    pub(crate) async fn decide(
        &self,
        identified: Identified<'_, '_>,
        request: &TrustedRequest,
        headers: &HeaderMap,
        body: Option<&[u8]>,
        facts: &mut Facts,
        now: Timestamp,
        trace: &mut (impl Trace + Send),
    ) -> Result<Admitted, Refusal> {
        if identified.asks_the_upstream() {
            trace.enter(Step::Organisation);
        }
        let looked = self.look_up(&identified, headers, body, facts, now).await?;
        let judged = self.judge(identified, request, headers, body, looked, facts, trace)?;
        let Some(allowed) = judged else { return Ok(Admitted::Login) };
        self.within_rate_of_organisation(&allowed.permit)?;
        self.check(&allowed, request, headers, facts).await?;
        let Target { upstream, act_as, .. } = &*allowed.target;
        facts.technical_user = act_as.technical_user().map(|user| Arc::clone(user.name()));
        let (permit, sources) = (&allowed.permit, self.sources());
        trace.enter(Step::Credential);
        let credential =
            credential::obtain(permit, upstream.demand(), act_as, sources, now).await?;
        if let Credential::App(served, _) = &credential {
            facts.issued(&served.token.issued);
            if let Some(unmet) = allowed.permit.unmet(&served.token.issued.permissions) {
                facts.would_refuse(&unmet);
            }
        }
        facts.decision = Some(Verdict::Forward);
        facts.credential = Some(credential.word());
        Ok(Admitted::Forward(Box::new(Grant {
            target: allowed.target,
            permit: allowed.permit,
            credential,
            session: allowed.session,
            new_target: allowed.new_target,
            new_body: allowed.new_body,
        })))
    }

    /// The decision itself, which asks nobody: everything but the credential. `body` as for
    /// [`State::decide`]; `None`: a person has to log in first.
    ///
    /// # Errors
    /// Every refusal of organisation and policy, and that of a caller who could not be
    /// authenticated.
    #[expect(clippy::too_many_arguments, reason = "what a decision looks at, and who listens")]
    pub(crate) fn judge(
        &self,
        identified: Identified<'_, '_>,
        request: &TrustedRequest,
        headers: &HeaderMap,
        body: Option<&[u8]>,
        looked: Looked,
        facts: &mut Facts,
        trace: &mut impl Trace,
    ) -> Result<Option<Allowed>, Refusal> {
        let Identified { found, caller } = identified;
        let target = found.route;
        let parts = Parts { query: request.query(), headers, body };
        let named = place::read(&target.places, parts, |name| found.parameter(name))
            .and_then(|named| together(named, looked));
        // Who may not come in does not learn whether the organisation could be read.
        let (named, unreadable) = match named {
            Ok(named) => (named, None),
            Err(refusal) => (None, Some(refusal)),
        };
        facts.named = named;
        let seen = policy::Request {
            named,
            own: target
                .places
                .iter()
                .any(|each| matches!(each.place, Place::Session | Place::Token)),
            injected: target.places.iter().any(|each| each.inject),
            assumed: looked == Looked::Assumed,
            navigation: request.navigation,
            asked: asked(request, headers),
        };
        let who = &caller.authentication;
        let decision = match unreadable {
            None => target.policy.decide_traced(who, &seen, self.rights(), trace),
            Some(unreadable) => match target.policy.decide(who, &seen, self.rights()) {
                Decision::Login => Decision::Login,
                Decision::Refuse(refusal) if refusal.reason.status() == 401 => {
                    Decision::Refuse(refusal)
                }
                _ => {
                    trace.enter(Step::Organisation);
                    target.policy.on_trial(who, unreadable, self.rights())
                }
            },
        };
        let permit = match decision {
            Decision::Login => {
                facts.decision = Some(Verdict::Login);
                return Ok(None);
            }
            Decision::Refuse(refusal) => {
                return Err(match looked {
                    Looked::Told(theirs) if refusal.reason == Reason::OrganisationMismatch => {
                        lookup::hidden(theirs)
                    }
                    _ => refusal,
                });
            }
            Decision::Forward(permit) => permit,
            Decision::Trial(permit, refusal) => {
                trace.would_refuse(&refusal);
                facts.would_refuse(&refusal);
                permit
            }
        };
        facts.organisation = permit.organisation();
        let (new_target, new_body) = match rewritten(target, request, parts, &permit) {
            Ok(rewritten) => rewritten,
            Err(refusal) => {
                trace.enter(Step::Organisation);
                if target.policy.enforce {
                    return Err(refusal);
                }
                trace.would_refuse(&refusal);
                facts.would_refuse(&refusal);
                (None, None)
            }
        };
        // The limit is the route's. Nobody asks for a credential that will not be used.
        trace.enter(Step::Route);
        declared_body(headers, target.body)?;
        let (target, session) = (Arc::clone(target), caller.session);
        Ok(Some(Allowed { target, permit, session, new_target, new_body }))
    }

    /// Forgets a grant's app token, which the upstream would not take. Says whether another may
    /// do better: not when it was issued for this very request, nor when the caller brought it.
    pub async fn disown(&self, grant: &Grant) -> bool {
        let (Some(sts), Credential::App(served, _)) = (&self.sts, &grant.credential) else {
            return false;
        };
        if served.cached {
            sts.evict(&served.token).await;
        }
        served.cached
    }

    /// Gets the credential of a grant again, for the same permit, and notes which it is.
    ///
    /// # Errors
    /// Those of [`credential::obtain`].
    pub async fn renew(
        &self,
        grant: &mut Grant,
        facts: &mut Facts,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Target { upstream, act_as, .. } = &*grant.target;
        let (permit, sources) = (&grant.permit, self.sources());
        let credential =
            credential::obtain(permit, upstream.demand(), act_as, sources, now).await?;
        if let Credential::App(served, _) = &credential {
            facts.issued(&served.token.issued);
        }
        grant.credential = credential;
        Ok(())
    }

    /// Where credentials come from.
    const fn sources(&self) -> Sources<'_> {
        Sources { sts: self.sts.as_ref(), rights: self.rights() }
    }

    /// What a user is told about their own rights.
    #[must_use]
    pub fn standing(&self, identity: &Identity) -> Standing {
        let Some(map) = &self.roles else { return Standing::default() };
        let theirs = map.organisations_of(&identity.roles);
        let active = match (identity.organisation, &*theirs) {
            (Some(active), _) => Some(active),
            (None, [only]) => Some(*only),
            (None, _) => None,
        };
        let held = active.and_then(|active| map.permissions(&identity.roles, active));
        let names = held.iter().flat_map(|held| held.iter());
        Standing {
            permissions: names.map(|permission| permission.as_str().to_owned()).collect(),
            organisations: theirs
                .into_iter()
                .map(|id| Choice {
                    id,
                    name: map.name(id).map(std::string::ToString::to_string).unwrap_or_default(),
                })
                .collect(),
        }
    }

    /// The `Host` that an upstream sees for a request to one of our hosts.
    #[must_use]
    pub fn host_for_upstream<'a>(&'a self, host: &'a str) -> &'a str {
        if host == &*self.public_host { &self.public_authority } else { host }
    }

    /// Where permissions are known.
    #[must_use]
    pub const fn rights(&self) -> Rights<'_> {
        match &self.roles {
            Some(map) => Rights::Roles { map, carry_all: self.carry_all },
            None => Rights::Issued,
        }
    }
}

/// The one organisation that a request and the resources in it name.
fn together(named: Option<Organisation>, looked: Looked) -> Result<Option<Organisation>, Refusal> {
    match (named, looked) {
        (Some(named), Looked::Told(looked)) if named != looked => {
            Err(invalid("the request names one organisation, and things of another"))
        }
        (_, Looked::Told(looked)) => Ok(Some(looked)),
        (named, Looked::Nothing | Looked::Assumed) => Ok(named),
    }
}

fn asked<'a>(request: &'a TrustedRequest, headers: &'a HeaderMap) -> Asked<'a> {
    Asked {
        method: request.method.as_str(),
        path: request.path(),
        host: &request.host,
        query: request.query(),
        headers,
        client: request.client,
    }
}

/// Writes the decided organisation into the request where the route says so.
fn rewritten(
    target: &Target,
    request: &TrustedRequest,
    parts: Parts<'_>,
    permit: &Permit,
) -> Result<(Option<Box<str>>, Option<Bytes>), Refusal> {
    let Some(organisation) = permit.organisation() else { return Ok((None, None)) };
    let needs_body = |each: &Named| each.inject && each.is_in_body();
    if parts.body.is_none() && target.places.iter().any(needs_body) {
        return Err(Refusal::new(
            Reason::OrganisationMissing,
            "there is no body to write the organisation into",
        ));
    }
    let new = place::write(&target.places, parts, organisation)?;
    let query = new.query.map(|query| format!("{}?{query}", request.path()).into());
    Ok((query, new.body.map(Bytes::from)))
}
