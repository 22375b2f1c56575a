//! Whether somebody asks too often.

use std::{net::IpAddr, sync::Arc, time::Instant};

use super::{Identified, State};
use crate::{
    organisation::Organisation,
    policy::{Authentication, Permit},
    rate_limit::{Buckets, Rate, TooMany},
    refusal::{Reason, Refusal},
};

/// The rates, and what everybody has left of them.
pub struct Rates {
    /// Of one caller, or one address of callers who are not known.
    pub client: Option<Rate>,
    /// Of one organisation, whoever asks.
    pub organisation: Option<Rate>,
    /// Where the buckets are, if there is any rate at all.
    pub buckets: Option<Buckets>,
    /// The buckets' time counts from here.
    pub since: Instant,
}

/// Whose bucket it is.
#[derive(Hash)]
enum Who<'a> {
    /// Issuer and subject.
    Caller(&'a Arc<str>, &'a Arc<str>),
    Address(Option<IpAddr>),
    Organisation(Organisation),
}

impl State {
    /// Refuses callers who ask too often: everywhere, or on this route. Whoever proves who they
    /// are is counted as that; everybody else, a failed credential included, by their address.
    ///
    /// # Errors
    /// `rate_limited`, with the time after which there is room again.
    pub fn within_rates(
        &self,
        identified: &Identified<'_, '_>,
        client: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        let who = match &identified.caller.authentication {
            Authentication::Authenticated(caller) => Who::Caller(&caller.issuer, &caller.subject),
            Authentication::NotPresented | Authentication::Failed { .. } => Who::Address(client),
        };
        let found = &identified.found;
        if let Some(rate) = found.route.rate {
            self.take(&(found.index, &who), rate, || format!("of {}", found.route.label))?;
        }
        self.within_rate(&who)
    }

    /// The same at one of our own endpoints, where nobody is known yet.
    ///
    /// # Errors
    /// As there.
    pub fn within_rate_of_address(&self, client: Option<IpAddr>) -> Result<(), Refusal> {
        self.within_rate(&Who::Address(client))
    }

    /// Refuses what goes beyond the rate of the organisation that a request was allowed for: those
    /// who may not act for it take nothing from it.
    ///
    /// # Errors
    /// As [`State::within_rates`].
    pub(super) fn within_rate_of_organisation(&self, permit: &Permit) -> Result<(), Refusal> {
        match (self.rates.organisation, permit.organisation()) {
            (Some(rate), Some(organisation)) => {
                let who = (usize::MAX, &Who::Organisation(organisation));
                self.take(&who, rate, || format!("of organisation {organisation}"))
            }
            _ => Ok(()),
        }
    }

    fn within_rate(&self, who: &Who<'_>) -> Result<(), Refusal> {
        match self.rates.client {
            Some(rate) => self.take(&(usize::MAX, who), rate, || "of one client".to_owned()),
            None => Ok(()),
        }
    }

    fn take(
        &self,
        who: &(usize, &Who<'_>),
        rate: Rate,
        whose: impl Fn() -> String,
    ) -> Result<(), Refusal> {
        let Some(buckets) = &self.rates.buckets else { return Ok(()) };
        buckets.take(who, rate, self.rates.since.elapsed()).map_err(|TooMany(wait)| {
            let Rate { per_second, burst } = rate;
            let detail =
                format!("more than the rate {}: {per_second} a second, {burst} at once", whose());
            Refusal::new(Reason::RateLimited, detail).retry_after(wait)
        })
    }
}
