//! May this caller do this, and for which organisation?
//!
//! [`Policy::decide`] is the whole decision: a function of values, without I/O and without a
//! clock. Its answer is a [`Permit`] or a [`Refusal`]; only this module makes a `Permit`, and
//! nothing gets a credential for the upstream without one. Everything that is not allowed
//! outright is refused.

pub mod drift;
pub mod import;
pub mod routes_file;

use std::sync::Arc;

use crate::{
    identity::{Identity, Proof},
    organisation::Organisation,
    permission::{PermissionSet, Requirement},
    refusal::{Reason, Refusal},
    roles::RoleMap,
};

/// What a route demands of its callers.
#[derive(Clone, Debug)]
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
    /// the caller has a role.
    pub app_token: bool,
}

/// Credentials that count on a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepts {
    /// The session cookie.
    pub session: bool,
    /// A bearer IAM token.
    pub iam: bool,
    /// A bearer app token.
    pub app: bool,
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
        if self.requirement.met_by(issued) { Ok(()) } else { Err(missing(&self.requirement)) }
    }
}

impl Policy {
    /// Decides. `named` is the organisation that the request itself names; `navigation` says
    /// whether a redirect to the login would reach a person.
    #[must_use]
    pub fn decide(
        &self,
        who: &Authentication,
        named: Option<Organisation>,
        rights: Rights<'_>,
        navigation: bool,
    ) -> Decision {
        if self.public {
            return Decision::Forward(Permit {
                identity: None,
                organisation: named,
                permissions: PermissionSet::default(),
                requirement: Requirement::Nothing,
            });
        }
        let identity = match who {
            Authentication::Authenticated(identity) => identity,
            Authentication::NotPresented | Authentication::Failed { session: true, .. }
                if navigation && self.accepts.session =>
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
        self.judge(identity, named, rights).map_or_else(Decision::Refuse, Decision::Forward)
    }

    fn judge(
        &self,
        identity: &Arc<Identity>,
        named: Option<Organisation>,
        rights: Rights<'_>,
    ) -> Result<Permit, Refusal> {
        let organisation = self.organisation(identity, named, rights)?;
        let in_role = |role: &Arc<str>| identity.roles.contains(role);
        if !self.roles.is_empty() && !self.roles.iter().any(in_role) {
            return Err(Refusal::new(Reason::RoleMissing, "none of the route's roles"));
        }
        let permit = |permissions| Permit {
            identity: Some(Arc::clone(identity)),
            organisation,
            permissions,
            requirement: self.permissions.clone(),
        };
        let (held, carry_all) = match (&identity.permissions, rights) {
            (Some(held), _) => (held.clone(), true),
            // The issued token will tell; see `Permit::settle`.
            (None, Rights::Issued) => return Ok(permit(self.permissions.named())),
            (None, Rights::Roles { map, carry_all }) => {
                let held = organisation.and_then(|here| map.permissions(&identity.roles, here));
                (held.map_or_else(PermissionSet::default, |held| (*held).clone()), carry_all)
            }
        };
        if !self.permissions.met_by(&held) {
            return Err(missing(&self.permissions));
        }
        let carried = if carry_all { held } else { held.intersection(&self.permissions.named()) };
        Ok(permit(carried))
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

fn missing(requirement: &Requirement) -> Refusal {
    Refusal::new(Reason::PermissionMissing, format!("needs {requirement}"))
}

#[cfg(test)]
mod tests;
