use std::path::Path;

use crate::config::{
    Faults, Loaded, parse_from,
    tests::{Given, sound},
};

#[test]
fn included_routes_keep_their_own_file() {
    let given = Given::new()
        .with("more.yaml", "routes:\n  - path: /b\n    upstream: core\n")
        .with("wrong.yaml", "- path: /c\n  upstream: nowhere\n")
        .with("other.yaml", "iam: {}\n");
    let load = |include: &str| {
        let text = sound(&format!("include: {include}\n"));
        parse_from(&text, Path::new("conf/gateway.yaml"), &given)
    };
    let loaded = load("[more.yaml]").unwrap();
    assert_eq!(loaded.config.routes[1].path.as_str(), "/b");
    assert_eq!(loaded.files, [Path::new("conf/gateway.yaml"), Path::new("conf/more.yaml")]);
    let place = |path: &str| loaded.position(path).unwrap().to_string();
    assert_eq!(place("routes[1].upstream"), "conf/more.yaml:3:15");
    assert_eq!(place("routes[1].access"), "conf/more.yaml:2:5");
    let found = load("[more.yaml, wrong.yaml]").unwrap_err().to_string();
    assert!(found.starts_with("conf/wrong.yaml:2:13: routes[2].upstream: unknown"), "{found}");
    let found = load("[more.yaml, more.yaml]").unwrap_err().to_string();
    assert!(found.contains("include[1]: names a file that is read already"), "{found}");
    let found = load("[nowhere.yaml]").unwrap_err().to_string();
    assert!(found.contains("include[0]: conf/nowhere.yaml cannot be read"), "{found}");
    let found = load("[other.yaml]").unwrap_err().to_string();
    assert!(found.contains("a file of routes holds a list of them"), "{found}");
}

const GENERATED: &str = "\
known_permissions: [BRAND_NEW]
routes:
  - { path: '/api/a/{id}', methods: [GET], permissions: [KEY_LIST], upstream: core }
  - { path: '/api/a/{id}', methods: [POST], permissions: [KEY_CREATE], upstream: core }
  - { path: /api/b, upstream: core }
  - { path: /api/c, hosts: [desk.example.com], methods: [GET], upstream: core }
";

fn with_overlay(overlay: &str) -> Result<Loaded, Faults> {
    let given = Given::new().with("core.yaml", GENERATED).with("mine.yaml", overlay);
    let text = sound("include: [core.yaml]\noverlay: [mine.yaml]\nroutes:\n");
    parse_from(&text, Path::new("gateway.yaml"), &given)
}

/// Every route: path, methods, permissions and the file it stands in.
fn routes(loaded: &Loaded) -> Vec<String> {
    let routes = loaded.config.routes.iter().enumerate().map(|(at, route)| {
        let methods: Vec<_> = route.methods.iter().map(|method| method.as_str()).collect();
        let (path, methods) = (&route.path, methods.join("+"));
        let place = loaded.position(&format!("routes[{at}].path")).unwrap();
        format!("{path} {methods} {} {}", route.permissions, place.file)
    });
    routes.collect()
}

#[test]
fn an_overlay_replaces_the_route_of_the_same_shape_hosts_and_methods() {
    let mine =
        "- { path: '/api/a/{name}', methods: [GET], permissions: [KEY_DETAIL], upstream: core }";
    let loaded = with_overlay(mine).unwrap();
    assert_eq!(
        routes(&loaded),
        [
            "/api/a/{id} POST any of KEY_CREATE core.yaml",
            "/api/b  no permission core.yaml",
            "/api/c GET no permission core.yaml",
            "/api/a/{name} GET any of KEY_DETAIL mine.yaml",
        ]
    );
    let files: Vec<_> = loaded.files.iter().map(|file| file.to_str().unwrap()).collect();
    assert_eq!(files, ["gateway.yaml", "core.yaml", "mine.yaml"]);
    assert_eq!(loaded.config.known_permissions[0].as_str(), "BRAND_NEW");
}

#[test]
fn an_overlay_takes_methods_away_and_adds_what_is_new() {
    let mine = "\
- { path: /api/b, methods: [GET], permissions: [KEY_DETAIL], upstream: core }
- { path: /api/new, methods: [GET], upstream: core }
";
    let loaded = with_overlay(mine).unwrap();
    let found = routes(&loaded);
    assert!(
        found.contains(&"/api/b DELETE+OPTIONS+PATCH+POST+PUT no permission core.yaml".to_owned()),
        "{found:?}"
    );
    assert!(found.contains(&"/api/b GET any of KEY_DETAIL mine.yaml".to_owned()), "{found:?}");
    assert!(found.contains(&"/api/new GET no permission mine.yaml".to_owned()), "{found:?}");
}

#[test]
fn an_overlay_for_other_hosts_replaces_nothing_and_is_a_conflict() {
    let found = with_overlay("- { path: /api/c, methods: [GET], upstream: core }").unwrap_err();
    assert!(found.to_string().contains("answers the same requests as routes["), "{found}");
}

#[test]
fn an_overlay_wins_over_no_route_of_the_main_file() {
    let given = Given::new().with("mine.yaml", "- { path: /a, upstream: core }");
    let text = sound("overlay: [mine.yaml]\n");
    let found = parse_from(&text, Path::new("gateway.yaml"), &given).unwrap_err().to_string();
    assert!(found.starts_with("mine.yaml:1:11: routes[1].path: answers the same"), "{found}");
}

#[test]
fn two_overlays_for_one_request_are_a_conflict() {
    let twice = "- { path: /api/b, upstream: core }\n- { path: /api/b, upstream: core }\n";
    let found = with_overlay(twice).unwrap_err().to_string();
    assert!(found.contains("mine.yaml:2:11"), "{found}");
}
