//! What upstreams are asked about their resources, and with what.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use super::Defects;
use crate::{
    config::{self, Config, Place},
    credential::Demand,
    http_client,
    lookup::{Lookup, Lookups, Servers, Settings, Source},
    organisation::lookup::Template,
    upstream::Upstream,
};

/// The kinds of resources that are looked up. Routes that ask about the same share it, and so
/// what is known of it.
pub(super) struct Kinds {
    known: Arc<Lookups>,
    sources: BTreeMap<String, Arc<Source>>,
    numbers: BTreeMap<(String, String, String, String), u32>,
}

pub(super) fn assemble(
    config: &Config,
    upstreams: &BTreeMap<String, Arc<Upstream>>,
    defects: &mut Defects,
) -> Kinds {
    let bounds = config.perimeter.as_ref().map(|perimeter| &perimeter.organisation_lookup);
    let settings = bounds.map_or(UNUSED, |bounds| Settings {
        entries: bounds.entries,
        positive: bounds.positive,
        negative: bounds.negative,
        timeout: bounds.timeout,
    });
    let mut sources = BTreeMap::new();
    for (name, upstream) in upstreams.iter().filter(|(_, it)| it.demand().is_unsafe()) {
        let tls = config.upstreams.get(name).and_then(|written| written.tls.as_ref());
        if let Some(source) = source(name, upstream, tls, settings.timeout, defects) {
            sources.insert(name.clone(), Arc::new(source));
        }
    }
    Kinds { known: Lookups::new(settings), sources, numbers: BTreeMap::new() }
}

impl Kinds {
    pub(super) fn known(self) -> Arc<Lookups> {
        self.known
    }

    /// The look-ups of a route.
    pub(super) fn of(
        &mut self,
        route: &config::Route,
        upstream: &Arc<Upstream>,
    ) -> Vec<Arc<Lookup>> {
        let Some(source) = self.sources.get(&**upstream.name()) else { return Vec::new() };
        let mut lookups = Vec::new();
        for place in &route.organisation.places {
            let Place::Lookup { path, pointer } = &place.place else { continue };
            // Its faults were found by the configuration's own checks, with their positions.
            let Ok(template) = Template::parse(path) else { continue };
            let (before, after) = template.place();
            let kind =
                (upstream.name().to_string(), before.to_owned(), after.to_owned(), pointer.clone());
            let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
            let number = *self.numbers.entry(kind).or_insert(next);
            let (pointer, source) = (pointer.as_str().into(), Arc::clone(source));
            lookups.push(Arc::new(Lookup { number, template, pointer, source }));
        }
        lookups
    }
}

fn source(
    name: &str,
    upstream: &Arc<Upstream>,
    tls: Option<&config::UpstreamTls>,
    timeout: Duration,
    defects: &mut Defects,
) -> Option<Source> {
    let mut read = |key: &str, path: &std::path::Path| {
        defects.take(&format!("upstreams.{name}.tls.{key}"), fs::read(path))
    };
    let (mut ca, mut client, mut origin) = (None, None, "http://upstream".to_owned());
    if let Some(tls) = tls {
        origin = format!("https://{}", tls.server_name);
        if let Some(path) = &tls.ca {
            ca = Some(read("ca", path)?);
        }
        if let (Some(chain), Some(key)) = (&tls.client_certificate, &tls.client_key) {
            let chain = read("client_certificate", chain)?;
            client = Some([read("client_key", key)?, chain].concat());
        }
    }
    let servers = Arc::new(Servers(Arc::clone(upstream)));
    let http2 = upstream.speaks_http2();
    let http = http_client::towards(ca.as_deref(), client.as_deref(), servers, timeout, http2);
    let http = defects.take(&format!("upstreams.{name}.tls"), http)?;
    let token = match upstream.demand() {
        Demand::Static(token) => Some(Arc::clone(token)),
        _ => None,
    };
    Some(Source { upstream: Arc::clone(upstream), http, origin, token })
}

/// Without a perimeter nothing is looked up.
const UNUSED: Settings = Settings {
    entries: 0,
    positive: Duration::ZERO,
    negative: Duration::ZERO,
    timeout: Duration::ZERO,
};
