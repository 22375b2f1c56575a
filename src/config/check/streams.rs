//! WebSockets where there can be none, or where nobody could answer for them.

use super::{Draft, Notes, Part};
use crate::config::{
    sections::{Method, Protocol, UpstreamAuth},
    suggest::quoted,
};

pub(super) fn report(draft: &Draft, notes: &mut Notes<'_, '_>) {
    for (here, route) in draft.routes() {
        if !route.websocket {
            continue;
        }
        let here = here.key("websocket");
        if !route.methods.is_empty() && !route.methods.contains(&Method::Get) {
            notes.fault(&here, "begins with a GET request, and methods leave GET out");
        }
        let Some(upstream) = draft.upstreams.get(&route.upstream).and_then(Part::get) else {
            continue;
        };
        if upstream.protocol == Protocol::Http2 {
            let message = format!(
                "needs HTTP/1.1, and {} speaks HTTP/2; make an upstream with protocol: http1 of \
                 the same servers",
                quoted(&route.upstream)
            );
            notes.fault(&here, message);
        }
        let is_unsafe =
            matches!(upstream.auth, UpstreamAuth::UnsafeNone | UpstreamAuth::UnsafeStatic { .. });
        if is_unsafe && !route.cross_organisation {
            let message = format!(
                "would let messages pass that nobody holds against the organisation, for {} checks \
                 nothing; write cross_organisation: true if they belong to none",
                quoted(&route.upstream)
            );
            notes.fault(&here, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{faults, parse_given, sound};

    #[test]
    fn a_websocket_that_could_not_be_is_a_fault() {
        let routes = |more: &str| {
            format!("routes: [{{ path: /a, upstream: core, websocket: true{more} }}]\n")
        };
        let upstream =
            |more: &str| format!("upstreams: {{ core: {{ servers: ['127.0.0.1:1'], {more} }} }}\n");
        for (change, words) in [
            (routes(", methods: [POST]"), "leave GET out"),
            (
                upstream("protocol: http2, auth: { mode: IAM }") + &routes(""),
                "`core` speaks HTTP/2",
            ),
            (
                upstream("auth: { mode: UNSAFE_NONE }") + &routes(", permissions: [DID_LIST]"),
                "cross_organisation: true",
            ),
        ] {
            let found = faults(&sound(&change));
            let said =
                |line: &str| line.contains(": routes[0].websocket: ") && line.contains(words);
            assert!(found.lines().any(said), "{change}{found}");
        }
        for change in [routes(""), routes(", methods: [GET, POST]")] {
            assert!(parse_given(&sound(&change)).is_ok(), "{change}");
        }
    }
}
