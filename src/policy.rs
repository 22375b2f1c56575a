//! May this caller do this, and for which organisation?
//!
//! [`Policy::decide`] is the whole decision: a function of values, without I/O and without a
//! clock. Its answer is a [`Permit`] or a [`Refusal`]; only this module makes a `Permit`, and
//! nothing gets a credential for the upstream without one. Everything that is not allowed
//! outright is refused.

mod acting;
pub mod condition;
pub mod drift;
pub mod import;
pub mod routes_file;

use std::sync::Arc;

pub use self::acting::on_behalf;
use self::condition::{Asked, Condition};
use crate::{
    identity::{Identity, Proof},
    organisation::{Organisation, query},
    permission::{PermissionSet, Requirement},
    refusal::{Reason, Refusal},
    roles::RoleMap,
    step::{Step, Trace},
};

/// What a route demands of its callers.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent rules, as the file writes them")]
pub struct Policy {
    /// No credential is asked for, and none is looked at.
    pub public: bool,
    /// Credentials that count here.
    pub accepts: Accepts,
    /// Permissions demanded in the organisation.
    pub permissions: Requirement,
    /// IAM roles, any of which is demanded; empty demands none.
    pub roles: Vec<Arc<str>>,
    /// Whether the upstream takes an app token, which is always one of an organisation in which
    /// the caller has a role; or takes none because it checks nothing, where the same is asked.
    pub app_token: bool,
    /// Whether the request itself has to name its organisation, since the upstream would not hold
    /// to the caller's.
    pub named: bool,
    /// What has to be true besides.
    pub condition: Option<Condition>,
    /// Whether the request may reach beyond its organisation ([`query::crosses`]).
    pub cross_organisation: bool,
    /// Whose permissions the route's are held against.
    pub acting: Acting,
    /// Whether a refusal counts, rather than only being recorded. Authentication always counts.
    pub enforce: bool,
}

/// In whose name the upstream is called, as far as it decides who needs the permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acting {
    /// The caller's: they need them.
    #[default]
    Caller,
    /// A technical user's own: both need them, so that nobody reaches through it what they may
    /// not do themselves ([`Permit::taken_over`]).
    TechnicalUser,
    /// The caller's, by a service that was given them for such users ([`Permit::delegated`]).
    Delegate,
}

/// What a decision looks at besides the caller.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one request")]
pub struct Request<'a> {
    /// The organisation that the request names.
    pub named: Option<Organisation>,
    /// Whether it has to be the one that the caller brings.
    pub own: bool,
    /// Whether the organisation is written into it, so that there has to be one.
    pub injected: bool,
    /// Whether the upstream would be asked for it, and is taken to name the caller's own.
    pub assumed: bool,
    /// Whether a redirect to the login would reach a person.
    pub navigation: bool,
    /// What conditions see.
    pub asked: Asked<'a>,
}

/// Credentials that count on a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each credential counts or does not")]
pub struct Accepts {
    /// The session cookie.
    pub session: bool,
    /// A bearer IAM token.
    pub iam: bool,
    /// A bearer app token.
    pub app: bool,
    /// The client certificate of a technical user.
    pub certificate: bool,
}

/// What authentication found: three answers, so that a bad credential never becomes anonymous.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// No credential of a kind that counts here.
    NotPresented,
    /// A credential that proves who is asking.
    Authenticated(Arc<Identity>),
    /// A credential that proves nothing.
    Failed {
        /// Why.
        refusal: Refusal,
        /// Whether it was a session, which a new login mends.
        session: bool,
    },
}

/// Where it stands what a caller may do.
#[derive(Clone, Copy, Debug)]
pub enum Rights<'a> {
    /// In the mapping of IAM roles.
    Roles {
        /// The mapping.
        map: &'a RoleMap,
        /// Whether an app token carries every permission held, rather than the route's alone.
        carry_all: bool,
    },
    /// In the token that the token service will issue.
    Issued,
}

/// The answer.
#[derive(Clone, Debug)]
pub enum Decision {
    /// The request may go on.
    Forward(Permit),
    /// A navigation without a session: the caller has to log in first.
    Login,
    /// It may not, and goes on all the same, for the route is on trial.
    Trial(Permit, Refusal),
    /// It may not.
    Refuse(Refusal),
}

/// Proof that a policy let a request pass. Its fields are private: nobody else can make one.
#[derive(Clone, Debug)]
pub struct Permit {
    identity: Option<Arc<Identity>>,
    organisation: Option<Organisation>,
    permissions: PermissionSet,
    requirement: Requirement,
    trial: bool,
}

impl Permit {
    /// Who; `None` on a public route.
    #[must_use]
    pub const fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// For which organisation; `None` where the request needs none.
    #[must_use]
    pub const fn organisation(&self) -> Option<Organisation> {
        self.organisation
    }

    /// What a token minted for this request shall carry.
    #[must_use]
    pub const fn permissions(&self) -> &PermissionSet {
        &self.permissions
    }

    /// The last part of the decision, once the token service has answered: what Core will see
    /// has to carry what the route demands, whatever was known here before.
    ///
    /// # Errors
    /// `permission_missing` when the token does not carry what the route demands.
    pub fn settle(&self, issued: &PermissionSet) -> Result<(), Refusal> {
        match self.unmet(issued) {
            Some(refusal) if !self.trial => Err(refusal),
            _ => Ok(()),
        }
    }

    /// What the issued token lacks, whether or not that is enforced.
    #[must_use]
    pub fn unmet(&self, issued: &PermissionSet) -> Option<Refusal> {
        (!self.requirement.met_by(issued)).then(|| missing(&self.requirement))
    }

    /// For a route on trial whose policy refused: what the caller holds, and nothing more.
    fn trial(
        identity: &Arc<Identity>,
        organisation: Option<Organisation>,
        rights: Rights<'_>,
    ) -> Self {
        let permissions = match (&identity.permissions, rights) {
            (Some(held), _) => held.clone(),
            (None, Rights::Issued) => PermissionSet::default(),
            (None, Rights::Roles { map, .. }) => organisation
                .and_then(|here| map.permissions(&identity.roles, here))
                .map_or_else(PermissionSet::default, |held| (*held).clone()),
        };
        let identity = Some(Arc::clone(identity));
        let requirement = Requirement::Nothing;
        Self { identity, organisation, permissions, requirement, trial: true }
    }
}

impl Policy {
    /// Decides.
    #[must_use]
    pub fn decide(
        &self,
        who: &Authentication,
        request: &Request<'_>,
        rights: Rights<'_>,
    ) -> Decision {
        self.decide_traced(who, request, rights, &mut ())
    }

    /// [`Policy::decide`], and somebody listens.
    pub(crate) fn decide_traced(
        &self,
        who: &Authentication,
        request: &Request<'_>,
        rights: Rights<'_>,
        trace: &mut impl Trace,
    ) -> Decision {
        if self.public {
            trace.enter(Step::Policy);
            trace.found(|| "public: everybody may".to_owned());
            return Decision::Forward(Permit {
                identity: None,
                organisation: request.named,
                permissions: PermissionSet::default(),
                requirement: Requirement::Nothing,
                trial: false,
            });
        }
        let identity = match who {
            Authentication::Authenticated(identity) => identity,
            Authentication::NotPresented | Authentication::Failed { session: true, .. }
                if request.navigation && self.accepts.session =>
            {
                return Decision::Login;
            }
            Authentication::NotPresented => {
                return Decision::Refuse(Refusal::new(
                    Reason::CredentialMissing,
                    "no credential of a kind that counts here",
                ));
            }
            Authentication::Failed { refusal, .. } => return Decision::Refuse(refusal.clone()),
        };
        match self.judge(identity, request, rights, trace) {
            Ok(permit) => Decision::Forward(permit),
            Err(refusal) => self.on_trial(who, refusal, rights),
        }
    }

    /// What becomes of a refusal of an authenticated caller: on trial the request goes on, in
    /// the caller's own organisation and with what they hold there.
    #[must_use]
    pub fn on_trial(&self, who: &Authentication, refusal: Refusal, rights: Rights<'_>) -> Decision {
        match who {
            Authentication::Authenticated(identity)
                if !self.enforce && matches!(refusal.reason.status(), 400 | 403) =>
            {
                let organisation = self.organisation(identity, None, rights).unwrap_or_default();
                Decision::Trial(Permit::trial(identity, organisation, rights), refusal)
            }
            _ => Decision::Refuse(refusal),
        }
    }

    fn judge(
        &self,
        identity: &Arc<Identity>,
        request: &Request<'_>,
        rights: Rights<'_>,
        trace: &mut impl Trace,
    ) -> Result<Permit, Refusal> {
        trace.enter(Step::Organisation);
        trace.found(|| described("the request names", request.named));
        let organisation = self.organisation(identity, request.named, rights)?;
        trace.found(|| described("it is about", organisation));
        if let (true, Some(own), Some(named)) = (request.own, identity.organisation, request.named)
            && own != named
        {
            let detail = format!("{named} is not the one that the caller brings");
            return Err(Refusal::new(Reason::OrganisationMismatch, detail));
        }
        if !self.cross_organisation && query::crosses(request.asked.query) {
            let detail = "the query asks for every organisation's things";
            return Err(Refusal::new(Reason::OrganisationMismatch, detail));
        }
        if self.named && request.named.is_none() && !request.injected && !request.assumed {
            let detail = "the request names no organisation, and the upstream would take any";
            return Err(Refusal::new(Reason::OrganisationMissing, detail));
        }
        if request.injected && organisation.is_none() {
            let detail = "there is no organisation to write into the request";
            return Err(Refusal::new(Reason::OrganisationMissing, detail));
        }
        trace.enter(Step::Policy);
        if !self.roles.is_empty() {
            trace.found(|| format!("needs a role of {}", self.roles.join(", ")));
        }
        let in_role = |role: &Arc<str>| identity.roles.contains(role);
        if !self.roles.is_empty() && !self.roles.iter().any(in_role) {
            return Err(Refusal::new(Reason::RoleMissing, "none of the route's roles"));
        }
        let permissions = self.permissions(identity, organisation, rights, trace)?;
        if let Some(condition) = &self.condition {
            let failed = |why| Refusal::new(Reason::ConditionFailed, why);
            if !condition.holds(identity, organisation, &request.asked).map_err(failed)? {
                return Err(failed("the condition is false"));
            }
            trace.found(|| "the condition is true".to_owned());
        }
        Ok(Permit {
            identity: Some(Arc::clone(identity)),
            organisation,
            permissions,
            requirement: self.permissions.clone(),
            trial: !self.enforce,
        })
    }

    /// Whether there is an organisation at all in which this caller may do this, before anybody is
    /// asked which it is.
    ///
    /// # Errors
    /// `role_missing` or `permission_missing` when there is none.
    pub fn may_somewhere(&self, identity: &Identity, rights: Rights<'_>) -> Result<(), Refusal> {
        let in_role = |role: &Arc<str>| identity.roles.contains(role);
        if !self.roles.is_empty() && !self.roles.iter().any(in_role) {
            return Err(Refusal::new(Reason::RoleMissing, "none of the route's roles"));
        }
        let met = match (&identity.permissions, rights) {
            (Some(held), _) => self.permissions.met_by(held),
            (None, Rights::Issued) => true,
            (None, Rights::Roles { map, .. }) => {
                let theirs = map.organisations_of(&identity.roles);
                if theirs.is_empty() {
                    let detail = "no role of the caller counts in any organisation";
                    return Err(Refusal::new(Reason::RoleMissing, detail));
                }
                theirs.iter().any(|here| {
                    let held = map.permissions(&identity.roles, *here);
                    held.is_some_and(|held| self.permissions.met_by(&held))
                })
            }
        };
        if met { Ok(()) } else { Err(missing(&self.permissions)) }
    }

    /// Whether an organisation is one of the caller's, as far as that is known here.
    #[must_use]
    pub fn may_act_in(identity: &Identity, here: Organisation, rights: Rights<'_>) -> bool {
        match (identity.proof, rights) {
            (Proof::AppToken, _) => identity.organisation == Some(here),
            (Proof::Certificate, _) if identity.is_bound_elsewhere(here) => false,
            (_, Rights::Issued) => true,
            (_, Rights::Roles { map, .. }) => map.permissions(&identity.roles, here).is_some(),
        }
    }

    /// What a token shall carry.
    fn permissions(
        &self,
        identity: &Identity,
        organisation: Option<Organisation>,
        rights: Rights<'_>,
        trace: &mut impl Trace,
    ) -> Result<PermissionSet, Refusal> {
        trace.found(|| format!("needs {}", self.permissions));
        if self.acting == Acting::Delegate {
            trace.found(|| "what the service may do on the caller's behalf will tell".to_owned());
            return Ok(self.permissions.named());
        }
        let (held, carry_all) = match (&identity.permissions, rights) {
            (Some(held), _) => (held.clone(), true),
            // The issued token will tell; see `Permit::settle`.
            (None, Rights::Issued) => {
                trace.found(|| "the token service will tell what the caller holds".to_owned());
                return Ok(self.permissions.named());
            }
            (None, Rights::Roles { map, carry_all }) => {
                let held = organisation.and_then(|here| map.permissions(&identity.roles, here));
                (held.map_or_else(PermissionSet::default, |held| (*held).clone()), carry_all)
            }
        };
        trace.found(|| format!("the caller holds {held}"));
        if !self.permissions.met_by(&held) {
            return Err(missing(&self.permissions));
        }
        Ok(if carry_all { held } else { held.intersection(&self.permissions.named()) })
    }

    /// The one organisation that the request is about: what it names, else the session's, else
    /// the only one in which the caller has a role.
    fn organisation(
        &self,
        identity: &Identity,
        named: Option<Organisation>,
        rights: Rights<'_>,
    ) -> Result<Option<Organisation>, Refusal> {
        let mismatch = |named: Organisation| {
            Refusal::new(Reason::OrganisationMismatch, format!("{named} is not the caller's"))
        };
        if identity.proof == Proof::AppToken {
            return match named {
                Some(named) if identity.organisation != Some(named) => Err(mismatch(named)),
                _ => Ok(identity.organisation),
            };
        }
        if let Some(named) = named.filter(|named| identity.is_bound_elsewhere(*named)) {
            return Err(mismatch(named));
        }
        let Rights::Roles { map, .. } = rights else {
            return Ok(named.or(identity.organisation));
        };
        let theirs = map.organisations_of(&identity.roles);
        if let Some(named) = named {
            return if theirs.contains(&named) { Ok(Some(named)) } else { Err(mismatch(named)) };
        }
        match (identity.organisation.filter(|active| theirs.contains(active)), &*theirs) {
            (Some(active), _) => Ok(Some(active)),
            (None, [only]) => Ok(Some(*only)),
            (None, []) if self.app_token => Err(Refusal::new(
                Reason::RoleMissing,
                "no role of the caller counts in any organisation",
            )),
            (None, [_, ..]) if self.permissions != Requirement::Nothing => Err(Refusal::new(
                Reason::OrganisationMissing,
                "the caller has several organisations and the request names none",
            )),
            (None, _) => Ok(None),
        }
    }
}

fn described(what: &str, organisation: Option<Organisation>) -> String {
    match organisation {
        Some(organisation) => format!("{what} {organisation}"),
        None => format!("{what} no organisation"),
    }
}

fn missing(requirement: &Requirement) -> Refusal {
    Refusal::new(Reason::PermissionMissing, format!("needs {requirement}"))
}

#[cfg(test)]
mod tests;
