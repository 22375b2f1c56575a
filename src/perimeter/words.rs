//! What a gateway in front of an upstream that checks nothing is responsible for.

use crate::config::{Access, AuditDemand, Config, LogTarget, UpstreamAuth};

/// One paragraph for whoever starts the gateway; `None` when every upstream checks its callers
/// itself.
#[must_use]
pub fn responsibility(config: &Config) -> Option<String> {
    let unchecked: Vec<_> = config
        .upstreams
        .iter()
        .filter_map(|(name, upstream)| match upstream.auth {
            UpstreamAuth::UnsafeNone => Some((name, "UNSAFE_NONE")),
            UpstreamAuth::UnsafeStatic { .. } => Some((name, "UNSAFE_STATIC")),
            _ => None,
        })
        .collect();
    let perimeter = config.perimeter.as_ref()?;
    if unchecked.is_empty() {
        return None;
    }
    let names: Vec<_> = unchecked.iter().map(|(name, mode)| format!("{name} ({mode})")).collect();
    let routes = config
        .routes
        .iter()
        .filter(|route| unchecked.iter().any(|(name, _)| **name == route.upstream));
    let (public, protected): (Vec<_>, Vec<_>) =
        routes.partition(|route| route.access == Access::Public);
    let networks: Vec<_> = perimeter.allow_clients.iter().map(ToString::to_string).collect();
    let audit = match (&config.logs.audit, perimeter.audit) {
        (LogTarget::Off, _) => "no audit records are kept".to_owned(),
        (target, AuditDemand::Required) => {
            format!("nothing is forwarded before its audit record is written to {}", place(target))
        }
        (target, AuditDemand::BestEffort) => {
            format!(
                "audit records go to {}, and a request does not wait for its own",
                place(target)
            )
        }
    };
    Some(format!(
        "perimeter: {} does not check its callers, so this gateway alone answers for \
         authentication, permissions, the separation of organisations, attribution and audit \
         there. Clients come from {}; {} routes ask for a caller who is known and may do it, {} \
         are public; every other path is closed; {audit}. Whoever reaches it by another way than \
         this gateway may do everything",
        names.join(" and "),
        networks.join(", "),
        protected.len(),
        public.len(),
    ))
}

fn place(target: &LogTarget) -> String {
    match target {
        LogTarget::Stdout => "standard output".to_owned(),
        LogTarget::Stderr => "standard error".to_owned(),
        LogTarget::Off => "nowhere".to_owned(),
        LogTarget::File(path) | LogTarget::Syslog(path) => path.display().to_string(),
    }
}
