//! The way of a decision, told for a request that nobody sends: `portcullis explain`.
//!
//! The very code that serves decides. A [`Question`] is written down as the bytes of an HTTP/1.1
//! request and read back by the server's own parser ([`wire`]); the trusted view, our own
//! endpoints, routing, authentication, organisation and policy are [`State`]'s. Only the last
//! part of the last step is left out: an outside token service is not asked, and nothing is
//! minted.
//!
//! A caller who is described by claims gets a real token with those claims, signed by a key that
//! is made for this purpose and forgotten with the [`Explainer`] ([`vouch`]). The parts that
//! trust this key are made here and nowhere else, so nothing that serves can be talked into
//! believing mere claims: no code of its way takes any.

mod question;
mod steps;
#[cfg(test)]
mod tests;
mod token;
mod vouch;
mod wire;

use std::{net::IpAddr, sync::Arc};

use http::Method;
use serde::{Serialize, Serializer};

pub use self::{
    question::{Question, Who, header_line},
    steps::{Passage, StepVerdict},
    token::Judgement,
    vouch::{Kind, Unanswerable},
};
use self::{steps::Steps, vouch::Voucher, wire::Received};
use crate::{
    admission::{Allowed, Looked, OwnEndpoint, State},
    assembly::{self, Assembly, Defect},
    config::Loaded,
    credential::{self, ActAs, Demand, Plan},
    extension::Extensions,
    jwks::{FetchError, Jwks},
    organisation::Organisation,
    permission::PermissionSet,
    refusal::{Reason, Refusal},
    sessions::PendingCookies,
    step::{Step, Trace},
    technical_user::TechnicalUser,
    telemetry::record::{Facts, Verdict},
    time::Timestamp,
};

/// What becomes of a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What is decided.
    #[serde(serialize_with = "decision")]
    pub decision: Verdict,
    /// The status of the answer; 200 stands for whatever the upstream answers. `None` where one
    /// of our own endpoints chooses it.
    pub status: Option<u16>,
    /// Why it is refused.
    #[serde(serialize_with = "reason")]
    pub reason: Option<Reason>,
    /// The route's path pattern.
    pub route: Option<String>,
    /// The upstream's name.
    pub upstream: Option<String>,
    /// Which credential the upstream would get.
    pub credential: Option<&'static str>,
    /// For which organisation.
    pub organisation: Option<Organisation>,
    /// Who asks.
    pub subject: Option<String>,
    /// What would refuse it, if its route were not on trial.
    #[serde(serialize_with = "reason", skip_serializing_if = "Option::is_none")]
    pub would_refuse: Option<Reason>,
    /// Every step, in order.
    pub steps: Vec<Passage>,
    /// Which route, by its index in the configuration.
    #[serde(skip)]
    pub route_index: Option<usize>,
    /// Those of the route's permissions with which it is forwarded.
    #[serde(skip)]
    pub permissions: PermissionSet,
}

/// Answers questions about one configuration.
pub struct Explainer {
    /// Trusts the configuration's issuers.
    serving: Assembly,
    /// Trusts the voucher in their place.
    vouching: State,
    voucher: Voucher,
    public_host: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde passes")]
fn decision<S: Serializer>(decision: &Verdict, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(decision.word())
}

#[expect(clippy::trivially_copy_pass_by_ref, clippy::ref_option, reason = "what serde passes")]
fn reason<S: Serializer>(reason: &Option<Reason>, to: S) -> Result<S::Ok, S::Error> {
    reason.map(Reason::word).serialize(to)
}

impl Explainer {
    /// Makes the parts of a configuration, without talking to anybody.
    ///
    /// # Errors
    /// Every defect that [`assembly::assemble`] finds.
    pub fn new(loaded: &Loaded) -> Result<Self, Vec<Defect>> {
        Self::with(loaded, &Arc::default())
    }

    /// The same for a program with extensions, which are asked as they are when it serves.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn with(loaded: &Loaded, extensions: &Arc<Extensions>) -> Result<Self, Vec<Defect>> {
        let serving = assembly::assemble_with(loaded, extensions)?;
        let mut vouching = assembly::assemble_with(loaded, extensions)?.state;
        let voucher = Voucher::new(&loaded.config)
            .map_err(|message| vec![Defect { key_path: String::new(), message }])?;
        vouching.authenticator = vouching.authenticator.trusting_only(&voucher.keys());
        let public_host = vouching.public_authority.to_string();
        Ok(Self { serving, vouching, voucher, public_host })
    }

    /// Reads the issuers' keys, for questions with real tokens; each read is bounded in time as
    /// when serving.
    ///
    /// # Errors
    /// For each issuer whose keys cannot be had, where they are and why not.
    pub async fn fetch_keys(&self) -> Result<(), Vec<(&'static str, FetchError)>> {
        let mut missing = Vec::new();
        let sources =
            [("IAM provider", &self.serving.iam_keys), ("token service", &self.serving.sts_keys)];
        for (whose, keys) in sources {
            if let Some(keys) = keys
                && let Err(error) = Jwks::refresh(keys).await
            {
                missing.push((whose, error));
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    /// What would become of a request at this time.
    ///
    /// # Errors
    /// When the question cannot be put: no such request can be written, or no such caller exists.
    pub async fn explain(
        &self,
        question: &Question,
        now: Timestamp,
    ) -> Result<Explanation, Unanswerable> {
        let (state, credentials) = match &question.who {
            Who::Nobody => (&self.serving.state, Vec::new()),
            Who::Bearer(token) => (&self.serving.state, vec![vouch::bearer(token)?]),
            Who::Claims { kind, claims } => {
                let audience = self.audience(question).await?;
                let token = self.voucher.token(*kind, claims, audience.as_deref(), now)?;
                (&self.vouching, vec![vouch::bearer(&token)?])
            }
            Who::Session { claims, organisation } => {
                let cookies =
                    self.voucher.session(&self.vouching, claims, *organisation, now).await?;
                (&self.vouching, vec![cookies])
            }
        };
        let bytes = wire::write(question, &self.public_host, &credentials)?;
        let (mut facts, mut steps) = (Facts::default(), Steps::default());
        let mut index = None;
        // Boxed: the way of a request is a large future, and whoever asks holds it.
        let way = pass(state, bytes, question, &mut facts, &mut index, &mut steps, now);
        let passed = Box::pin(way).await;
        Ok(Explanation { route_index: index, ..explanation(passed, facts, steps) })
    }

    /// The audience of the upstream to which a question leads: what an app token is for.
    async fn audience(&self, question: &Question) -> Result<Option<Arc<str>>, Unanswerable> {
        let bytes = wire::write(question, &self.public_host, &[])?;
        let state = &self.vouching;
        let client = client(question, state);
        let found = async {
            let received = Received::read(bytes, None).await.ok()?;
            let request = state.rules.view(received.head(client), Arc::default).ok()?;
            let found = state.routes.find(&request.host, &request.method, request.path()).ok()?;
            match found.route.upstream.demand() {
                credential::Demand::AppToken(audience) => Some(Arc::clone(audience)),
                _ => None,
            }
        };
        Ok(found.await)
    }
}

/// Where a question comes from: unless it says so, from where clients may.
fn client(question: &Question, state: &State) -> Option<IpAddr> {
    let allowed = || state.rules.allow_clients.as_ref()?.first().map(ipnet::IpNet::addr);
    question.client.or_else(allowed)
}

/// What is not refused.
enum Passed {
    /// To the upstream, with this credential and thanks to these permissions.
    Forward(&'static str, PermissionSet),
    Login,
    /// One of our own endpoints answers; with the status, where there is only one.
    Own(Option<u16>),
}

/// The way of a request, as `gateway` drives it.
async fn pass(
    state: &State,
    head: Vec<u8>,
    question: &Question,
    facts: &mut Facts,
    index: &mut Option<usize>,
    steps: &mut Steps,
    now: Timestamp,
) -> Result<Passed, Refusal> {
    steps.enter(Step::View);
    let received = Received::read(head, question.body.clone()).await?;
    let request = state.rules.view(received.head(client(question, state)), Arc::default)?;
    steps.found(|| {
        let client = request.client.map_or_else(String::new, |client| format!(", from {client}"));
        let what = if request.navigation { ", a navigation" } else { "" };
        format!("{} {} on {}{client}{what}", request.method, request.path(), request.host)
    });
    steps.enter(Step::OwnEndpoint);
    if let Some(own) = state.own_endpoint(request.path()) {
        return answered_here(&own, facts, steps, &request.method);
    }
    steps.found(|| "none of the gateway's own".to_owned());
    let headers = received.headers();
    let mut cookies = PendingCookies::default();
    let identified =
        state.identify(&request, headers, facts, index, &mut cookies, now, steps).await?;
    let body = match identified.needs_body() {
        Some(bound) => {
            steps.enter(Step::Organisation);
            received.body(bound)?
        }
        None => None,
    };
    let looked = if identified.asks_the_upstream() {
        steps.enter(Step::Organisation);
        steps.found(|| "the upstream would be asked whose it is; taken to be the caller's".into());
        Looked::Assumed
    } else {
        Looked::Nothing
    };
    let judged = state.judge(identified, &request, headers, body, looked, facts, steps)?;
    let Some(allowed) = judged else {
        state.login_cookies(headers)?;
        return Ok(Passed::Login);
    };
    state.check(&allowed, &request, headers, facts).await?;
    let word = foresee(state, &allowed, facts, steps)?;
    let demanded = allowed.target.policy.permissions.named();
    Ok(Passed::Forward(word, allowed.permit.permissions().intersection(&demanded)))
}

/// The credential that the upstream would get, as far as that is known without asking for it.
fn foresee(
    state: &State,
    allowed: &Allowed,
    facts: &mut Facts,
    steps: &mut Steps,
) -> Result<&'static str, Refusal> {
    steps.enter(Step::Credential);
    let demand = allowed.target.upstream.demand();
    if let Some(user) = allowed.target.act_as.technical_user() {
        return foresee_another(allowed, user, demand, steps);
    }
    match credential::plan(&allowed.permit, demand, state.sts.as_ref())? {
        Plan::Ready(credential) => {
            steps.found(|| credential.to_string());
            Ok(credential.word())
        }
        Plan::Extension(source) => {
            steps.found(|| format!("what {source:?} gives, which is not asked here"));
            Ok("extension")
        }
        Plan::Ask(sts, ask) => {
            let Some(issued) = sts.foresee(&ask)? else {
                steps.found(|| {
                    format!(
                        "an app token for {}, by an exchange that is not made here",
                        ask.audience
                    )
                });
                return Ok("app");
            };
            steps.found(|| format!("an app token for {} that carries {issued}", ask.audience));
            allowed.permit.settle(issued)?;
            if let Some(unmet) = allowed.permit.unmet(issued) {
                steps.would_refuse(&unmet);
                facts.would_refuse(&unmet);
            }
            Ok("app")
        }
    }
}

/// The credential where a technical user acts: whose it is, and where. What it carries is for the
/// technical user's own IAM token to tell, which is not asked for here.
fn foresee_another(
    allowed: &Allowed,
    user: &TechnicalUser,
    demand: &Demand,
    steps: &mut Steps,
) -> Result<&'static str, Refusal> {
    let organisation = allowed.permit.at_home(user.organisation())?;
    let here = organisation.map_or_else(String::new, |here| format!(" in {here}"));
    let kind = if matches!(demand, Demand::IamToken) { "IAM" } else { "app" };
    let (word, what) = match &allowed.target.act_as {
        ActAs::Delegate(_) => (
            "delegated",
            format!("an app token{here} with which {} acts for the caller", user.name()),
        ),
        ActAs::TechnicalUser(_) | ActAs::Caller => {
            ("technical_user", format!("the {kind} token{here} of technical user {}", user.name()))
        }
    };
    steps.found(|| format!("{what}; neither IAM provider nor token service is asked here"));
    Ok(word)
}

fn answered_here(
    own: &OwnEndpoint<'_>,
    facts: &mut Facts,
    steps: &mut Steps,
    method: &Method,
) -> Result<Passed, Refusal> {
    facts.route = Some(own.label().into());
    match own {
        OwnEndpoint::Keys(_) => {
            if !matches!(*method, Method::GET | Method::HEAD) {
                return Err(OwnEndpoint::only_read());
            }
            steps.answer("the keys of the built-in token service");
            Ok(Passed::Own(Some(200)))
        }
        OwnEndpoint::Exchange(_) => {
            if *method != Method::POST {
                return Err(OwnEndpoint::only_posted());
            }
            steps.answer("answered by the gateway itself: token exchange");
            Ok(Passed::Own(None))
        }
        OwnEndpoint::Session(_) => {
            steps.answer("answered by the gateway itself: login, logout, session");
            Ok(Passed::Own(None))
        }
    }
}

fn explanation(passed: Result<Passed, Refusal>, facts: Facts, mut steps: Steps) -> Explanation {
    let mut permissions = PermissionSet::default();
    let (decision, status, credential, reason) = match passed {
        Ok(Passed::Forward(word, used)) => {
            permissions = used;
            (Verdict::Forward, Some(200), Some(word), None)
        }
        Ok(Passed::Login) => {
            steps.login();
            (Verdict::Login, Some(302), None, None)
        }
        Ok(Passed::Own(status)) => (Verdict::Own, status, None, None),
        Err(refusal) => {
            steps.refuse(&refusal);
            let status = refusal.reason.status();
            (Verdict::Refuse, Some(status), None, Some(refusal.reason))
        }
    };
    let text = |text: Option<Arc<str>>| text.map(|text| text.to_string());
    Explanation {
        decision,
        status,
        reason,
        route: text(facts.route),
        upstream: text(facts.upstream),
        credential,
        organisation: facts.organisation,
        subject: text(facts.subject),
        would_refuse: facts.would_refuse,
        steps: steps.finish(),
        route_index: None,
        permissions,
    }
}
