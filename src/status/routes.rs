//! Routes, and how often each was asked for.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    config::{Access, Route},
    live::Live,
    permission::Requirement,
    telemetry::metrics::RouteTally,
};

/// The busiest routes.
#[derive(Debug, Serialize)]
pub(super) struct Routes {
    /// How many there are.
    pub(super) all: usize,
    /// The busiest, then the others in their order; at most [`SHOWN`].
    pub(super) shown: Vec<RouteNow>,
    /// Requests without a route; every one where `metrics.per_route` is off.
    pub(super) without: Requests,
    /// Whether requests are counted by route.
    pub(super) counted: bool,
}

/// Routes of one pattern are counted together.
#[derive(Debug, Serialize)]
pub(super) struct RouteNow {
    pub(super) path: String,
    /// Methods of all of them; none: every one.
    pub(super) methods: Vec<&'static str>,
    pub(super) upstream: String,
    /// `public`, `any caller`, or what is demanded.
    pub(super) demands: String,
    /// Whether refusals are only recorded.
    pub(super) on_trial: bool,
    pub(super) requests: Requests,
}

/// Requests of one pattern, since the start of the process.
#[derive(Debug, Serialize)]
pub(super) struct Requests {
    pub(super) total: u64,
    /// By class of status.
    pub(super) by_status: Map<String, Value>,
    /// Their mean time.
    pub(super) mean_ms: Option<f64>,
}

/// Routes that are listed at most.
pub(super) const SHOWN: usize = 200;

impl Routes {
    pub(super) fn of(live: &Live, counted: bool) -> Self {
        let config = &live.loaded.config;
        let tallies = live.routes.read();
        let mut shown: Vec<RouteNow> = Vec::new();
        let mut at_path = std::collections::HashMap::new();
        for (at, route) in config.routes.iter().enumerate() {
            let known = at_path.entry(route.path.as_str()).or_insert(shown.len());
            if let Some(before) = shown.get_mut(*known) {
                before.join(route);
                continue;
            }
            let tally = tallies.get(at).copied().unwrap_or_default();
            let enforced = config.enforce
                && route.enforce
                && config.upstreams.get(&route.upstream).is_none_or(|it| it.enforce);
            shown.push(RouteNow {
                path: route.path.as_str().to_owned(),
                methods: route.methods.iter().map(|method| method.as_str()).collect(),
                upstream: route.upstream.clone(),
                demands: demands(route),
                on_trial: !enforced,
                requests: requests(&tally),
            });
        }
        let all = shown.len();
        shown.sort_by_key(|route| std::cmp::Reverse(route.requests.total));
        shown.truncate(SHOWN);
        Self { all, shown, without: requests(&live.routes.read_others()), counted }
    }
}

impl RouteNow {
    /// Another route with the same pattern.
    fn join(&mut self, route: &Route) {
        if self.methods.is_empty() || route.methods.is_empty() {
            self.methods.clear();
        } else {
            let more = route.methods.iter().map(|method| method.as_str());
            let more: Vec<_> = more.filter(|method| !self.methods.contains(method)).collect();
            self.methods.extend(more);
        }
        let demands = demands(route);
        if !self.demands.split("; ").any(|one| one == demands) {
            self.demands = format!("{}; {demands}", self.demands);
        }
    }
}

fn demands(route: &Route) -> String {
    let mut demands = Vec::new();
    match &route.permissions {
        Requirement::Nothing => {}
        Requirement::AnyOf(any) => {
            demands.push(any.to_string().replace(", ", " or "));
        }
        Requirement::AllOf(all) => {
            demands.push(all.to_string().replace(", ", " and "));
        }
    }
    if !route.roles.is_empty() {
        demands.push(format!("role {}", route.roles.join(" or ")));
    }
    if route.condition.is_some() {
        demands.push("a condition".to_owned());
    }
    match (route.access, demands.is_empty()) {
        (Access::Public, true) => "public".to_owned(),
        (Access::Required, true) => "any caller".to_owned(),
        (_, false) => demands.join(", "),
    }
}

fn requests(tally: &RouteTally) -> Requests {
    const WORDS: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
    let by_status = WORDS.iter().zip(tally.classes).filter(|(_, count)| *count > 0);
    #[expect(clippy::cast_precision_loss, reason = "a mean, for people")]
    let mean = || (tally.seconds * 1e6 / tally.timed as f64).round() / 1e3;
    Requests {
        total: tally.total(),
        by_status: by_status.map(|(word, it)| ((*word).to_owned(), it.into())).collect(),
        mean_ms: (tally.timed > 0).then(mean),
    }
}
