//! Whose things a request is about, where only the upstream knows.

use std::sync::Arc;

use http::HeaderMap;

use super::{Identified, State};
use crate::{
    lookup::Lookup,
    organisation::{Organisation, body, invalid},
    policy::{Authentication, Policy},
    refusal::{Reason, Refusal},
    telemetry::record::Facts,
    time::Timestamp,
};

/// What a route's look-ups said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// The route has none, or the request names no resource.
    Nothing,
    /// The resources of the request are this organisation's.
    Told(Organisation),
    /// Nobody was asked; the resources are taken to be the caller's own. For `explain`.
    Assumed,
}

impl State {
    /// Asks whose the resources of a request are. Only for callers who are known and who may do
    /// this somewhere at all: nobody else learns anything, or makes the upstream work.
    ///
    /// # Errors
    /// `no_route` when there is no such resource, `organisation_invalid` when an id is none or the
    /// resources are of several organisations, what the policy says of a caller who may do this
    /// nowhere, and those of [`crate::lookup::Lookups::organisation`].
    pub(super) async fn look_up(
        &self,
        identified: &Identified<'_, '_>,
        headers: &HeaderMap,
        body: Option<&[u8]>,
        facts: &mut Facts,
        now: Timestamp,
    ) -> Result<Looked, Refusal> {
        let (target, caller) = (identified.found.route, &identified.caller.authentication);
        let (Authentication::Authenticated(caller), false) = (caller, target.lookups.is_empty())
        else {
            return Ok(Looked::Nothing);
        };
        target.policy.may_somewhere(caller, self.rights())?;
        if body.is_some() && target.lookups.iter().any(|lookup| lookup.template.is_in_body()) {
            body::is_json(headers)?;
        }
        let mut looked = Looked::Nothing;
        for lookup in &target.lookups {
            let mut ids = Vec::new();
            lookup.template.ids(|name| identified.found.parameter(name), body, &mut ids)?;
            for id in ids {
                let organisation = self.lookups.organisation(lookup, id, now).await?;
                facts.resource(lookup.template.place().0, id);
                let organisation = organisation.ok_or_else(|| unknown(lookup, id))?;
                // Told apart from one that does not exist, it would tell that it does.
                if !Policy::may_act_in(caller, organisation, self.rights()) {
                    return Err(hidden(organisation));
                }
                match looked {
                    Looked::Told(before) if before != organisation => {
                        return Err(invalid(
                            "the request is about things of several organisations",
                        ));
                    }
                    _ => looked = Looked::Told(organisation),
                }
            }
        }
        Ok(looked)
    }
}

/// Another organisation's resource is to the caller as one that does not exist.
pub(super) fn hidden(organisation: Organisation) -> Refusal {
    let detail = format!("it belongs to {organisation}, which is not the caller's");
    Refusal::new(Reason::NoRoute, detail)
}

fn unknown(lookup: &Arc<Lookup>, id: uuid::Uuid) -> Refusal {
    let path = lookup.template.path(id);
    Refusal::new(Reason::NoRoute, format!("there is no {path} at the upstream"))
}
