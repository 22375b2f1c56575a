//! Permits for somebody other than the caller: a technical user in its own name, or a service on
//! the caller's behalf. Both begin with the permit that the caller was given.

use std::sync::Arc;

use super::{Permit, Rights};
use crate::{
    identity::Identity,
    organisation::Organisation,
    permission::{PermissionSet, Requirement},
    refusal::{Reason, Refusal},
};

impl Permit {
    /// Whether what the route demands is for the caller's own app token to tell, before anybody
    /// may act in their place.
    #[must_use]
    pub fn is_open(&self, rights: Rights<'_>) -> bool {
        let known = self.identity.as_ref().is_none_or(|caller| caller.permissions.is_some());
        matches!(rights, Rights::Issued) && !known && self.requirement != Requirement::Nothing
    }

    /// The organisation of the request, held against the one that somebody is bound to.
    ///
    /// # Errors
    /// `organisation_mismatch` when they are bound to another.
    pub fn at_home(&self, home: Option<Organisation>) -> Result<Option<Organisation>, Refusal> {
        match (home, self.organisation) {
            (Some(home), Some(here)) if home != here => {
                let detail = format!("the technical user acts in {home} alone, not in {here}");
                Err(Refusal::new(Reason::OrganisationMismatch, detail))
            }
            (home, here) => Ok(here.or(home)),
        }
    }

    /// The permit of a technical user for what the caller has been allowed to do. `home` is the
    /// organisation that the technical user is bound to.
    ///
    /// It carries what the route demands, as far as the technical user holds it. Where the route
    /// demands no permissions (its callers are told by roles or a condition), all that the
    /// technical user holds.
    ///
    /// # Errors
    /// `organisation_mismatch` when it has no role in the organisation, `organisation_missing`
    /// when there is none, `permission_missing` when it does not hold what the route demands.
    pub fn taken_over(
        &self,
        user: &Arc<Identity>,
        home: Option<Organisation>,
        rights: Rights<'_>,
    ) -> Result<Self, Refusal> {
        let organisation = self.at_home(home)?;
        let permissions = match rights {
            Rights::Issued => self.requirement.named(),
            Rights::Roles { map, carry_all } => {
                let here = organisation.ok_or_else(nowhere)?;
                let held = map.permissions(&user.roles, here).ok_or_else(|| {
                    let user = &user.subject;
                    let detail = format!("{user}, the technical user, has no role in {here}");
                    Refusal::new(Reason::OrganisationMismatch, detail)
                })?;
                if !self.requirement.met_by(&held) {
                    return Err(lacks(user, &self.requirement));
                }
                self.carried(&held, carry_all || self.requirement == Requirement::Nothing)
            }
        };
        let identity = Some(Arc::clone(user));
        Ok(Self { identity, organisation, permissions, ..self.clone() })
    }

    /// The caller's permit for a token with which `service` acts on their behalf. `home` is the
    /// organisation that the service is bound to.
    ///
    /// It carries what the service's roles for delegation give it for this caller, as far as the
    /// route demands it.
    ///
    /// # Errors
    /// `delegation_not_allowed` when no such role counts for the caller, or for a chain of more
    /// than one actor (also one from the service to itself); `permission_missing` when they do not
    /// give what the route demands; and as [`Permit::taken_over`] for the organisation.
    pub fn delegated(
        &self,
        service: &Identity,
        home: Option<Organisation>,
        rights: Rights<'_>,
    ) -> Result<Self, Refusal> {
        let organisation = self.at_home(home)?;
        let caller = self.identity.as_ref().ok_or_else(|| not_allowed("there is no caller"))?;
        let permissions = match rights {
            Rights::Issued => {
                is_pair(caller, service)?;
                self.requirement.named()
            }
            Rights::Roles { carry_all, .. } => {
                let here = organisation.ok_or_else(nowhere)?;
                let held = on_behalf(caller, service, here, rights)?;
                if !self.requirement.met_by(&held) {
                    return Err(lacks(service, &self.requirement));
                }
                self.carried(&held, carry_all)
            }
        };
        Ok(Self { organisation, permissions, ..self.clone() })
    }

    fn carried(&self, held: &PermissionSet, all: bool) -> PermissionSet {
        if all { held.clone() } else { held.intersection(&self.requirement.named()) }
    }
}

/// All that a service may do in an organisation on behalf of a user.
///
/// # Errors
/// `delegation_not_allowed` when that is nothing at all, or the two are no such pair.
pub fn on_behalf(
    user: &Identity,
    service: &Identity,
    here: Organisation,
    rights: Rights<'_>,
) -> Result<PermissionSet, Refusal> {
    is_pair(user, service)?;
    let Rights::Roles { map, .. } = rights else {
        return Err(not_allowed("what services may do on behalf of users is not mapped here"));
    };
    let held = map.permissions(&user.roles, here).unwrap_or_default();
    map.delegated(&service.roles, here, &held).ok_or_else(|| {
        let service = &service.subject;
        not_allowed(format!("no role lets {service} act on behalf of this user in {here}"))
    })
}

/// A user and a service, and nobody between them (Core knows one actor and no more).
fn is_pair(user: &Identity, service: &Identity) -> Result<(), Refusal> {
    if user.actor.is_some() || service.actor.is_some() {
        return Err(not_allowed("somebody acts already, and a chain is not allowed"));
    }
    // Roles that count only on behalf of users would count for the service itself.
    if (&user.issuer, &user.subject) == (&service.issuer, &service.subject) {
        return Err(not_allowed(format!("{} would act on its own behalf", service.subject)));
    }
    Ok(())
}

fn not_allowed(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::DelegationNotAllowed, detail.into())
}

fn lacks(who: &Identity, requirement: &Requirement) -> Refusal {
    let detail = format!("{} needs {requirement} there as well", who.subject);
    Refusal::new(Reason::PermissionMissing, detail)
}

fn nowhere() -> Refusal {
    let detail = "neither the request, the caller nor the technical user names an organisation";
    Refusal::new(Reason::OrganisationMissing, detail)
}

#[cfg(test)]
mod tests;
