//! A perimeter that is wider than it may be meant.

use crate::config::{
    check::path,
    key_path::KeyPath,
    sections::{Access, Config, UpstreamAuth},
};

pub(super) fn of(config: &Config) -> Vec<(KeyPath, String)> {
    let mut warnings = Vec::new();
    let networks = config.perimeter.iter().flat_map(|perimeter| &perimeter.allow_clients);
    for (at, _) in networks.enumerate().filter(|(_, network)| network.prefix_len() == 0) {
        let message = "lets every client come in, so that no network stands before the rules of \
                       the routes";
        warnings.push((path("perimeter.allow_clients").index(at), message.to_owned()));
    }
    let is_unsafe = |name: &str| {
        config.upstreams.get(name).is_some_and(|upstream| {
            matches!(upstream.auth, UpstreamAuth::UnsafeNone | UpstreamAuth::UnsafeStatic { .. })
        })
    };
    for (at, route) in config.routes.iter().enumerate() {
        let every_method = route.methods.is_empty() && route.access == Access::Required;
        if every_method && is_unsafe(&route.upstream) {
            let message = "names no methods, so one rule stands for reading and for writing, and \
                           the upstream tells them apart for nobody";
            warnings.push((path("routes").index(at), message.to_owned()));
        }
    }
    for (name, upstream) in &config.upstreams {
        if let UpstreamAuth::UnsafeStatic { static_token } = &upstream.auth
            && static_token.expose().len() < SHORT
        {
            let message = format!("has fewer than {SHORT} characters and can be guessed");
            let here = path("upstreams").key(name.as_str()).key("auth").key("static_token");
            warnings.push((here, message));
        }
    }
    warnings
}

const SHORT: usize = 16;

#[cfg(test)]
mod tests {
    use crate::config::tests::{parse_given, sound};

    #[test]
    fn what_is_wider_than_it_may_be_meant() {
        let upstreams = "upstreams: { core: { servers: ['127.0.0.1:1'], auth: { mode: \
                         UNSAFE_STATIC, static_token: test } } }\n";
        let text = format!(
            "allow_inline_secrets: true\n{upstreams}perimeter: {{ acknowledge: [core], \
             allow_clients: [192.0.2.0/24, 0.0.0.0/0] }}\nroutes: [{{ path: /api/a, permissions: \
             [CREDENTIAL_LIST], organisation: {{ query: o }}, upstream: core }}]\n"
        );
        let loaded = parse_given(&sound(&text)).unwrap();
        let found: Vec<_> = loaded.warnings().iter().map(ToString::to_string).collect();
        for (line, words) in found.iter().zip([
            "upstreams.core.auth.static_token: has fewer than 16",
            "perimeter.allow_clients[1]: lets every client",
            "routes[0]: names no methods",
        ]) {
            assert!(line.contains(words), "{found:?}");
        }
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(!found.concat().contains("test"), "no warning quotes the token");
    }
}
