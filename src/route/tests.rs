use proptest::prelude::*;

use super::*;

fn table(routes: &[(&str, &str)]) -> RouteTable<usize> {
    try_table(routes).unwrap()
}

fn try_table(routes: &[(&str, &str)]) -> Result<RouteTable<usize>, TableError> {
    let routes = routes.iter().enumerate().map(|(at, (methods, path))| {
        let (host, path) = path.split_at(path.find('/').unwrap());
        let hosts = if host.is_empty() { vec![] } else { vec![host.into()] };
        let methods = Methods::new(methods.split(' ').filter(|m| !m.is_empty()));
        (Pattern { path: PathPattern::parse(path).unwrap(), hosts, methods }, at)
    });
    RouteTable::new(routes.collect())
}

fn find(table: &RouteTable<usize>, method: &str, path: &str) -> Result<usize, Reason> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    table.find("h", &method, path).map(|found| found.index).map_err(|refusal| refusal.reason)
}

#[test]
fn the_most_specific_pattern_wins_whatever_the_order() {
    let mut routes = vec![
        ("", "/{*rest}"),
        ("GET", "/api/credential/v1/{id}"),
        ("GET", "/api/credential/v1/revocation-check"),
        ("", "/api/{*rest}"),
    ];
    for _ in 0..routes.len() {
        routes.rotate_left(1);
        let table = table(&routes);
        let path_of =
            |path: &str| table.find("h", &Method::GET, path).unwrap().pattern.path.as_str();
        assert_eq!(
            path_of("/api/credential/v1/revocation-check"),
            "/api/credential/v1/revocation-check"
        );
        assert_eq!(path_of("/api/credential/v1/1"), "/api/credential/v1/{id}");
        assert_eq!(path_of("/api/credential/v1/1/share"), "/api/{*rest}");
        assert_eq!(path_of("/x"), "/{*rest}");
        assert_eq!(path_of("/"), "/{*rest}");
    }
}

#[test]
fn a_known_path_with_another_method_is_405_and_says_which() {
    let table = table(&[("GET", "/a"), ("POST", "/a"), ("", "/{*rest}")]);
    assert_eq!(find(&table, "GET", "/a"), Ok(0));
    assert_eq!(find(&table, "HEAD", "/a"), Ok(0));
    assert_eq!(find(&table, "POST", "/a"), Ok(1));
    let refusal = table.find("h", &Method::DELETE, "/a").unwrap_err();
    assert_eq!(refusal.reason, Reason::MethodNotAllowed);
    assert_eq!(refusal.allow.as_deref(), Some("GET, HEAD, POST"));
    for method in ["TRACE", "CONNECT", "PROPFIND", "get"] {
        assert_eq!(find(&table, method, "/b"), Err(Reason::MethodNotAllowed), "{method}");
    }
}

#[test]
fn nothing_matches_by_accident() {
    let table = table(&[("", "/api/key/v1"), ("", "/api/key/v1/{id}"), ("", "/ssi/{*rest}")]);
    for path in ["/", "/api", "/api/key/v1/", "/API/key/v1", "/api/key/v1/1/2", "/api/key/v10"] {
        assert_eq!(find(&table, "GET", path), Err(Reason::NoRoute), "{path}");
    }
    assert_eq!(find(&table, "GET", "/ssi/"), Ok(2));
}

#[test]
fn a_slash_that_would_change_the_route_is_refused() {
    let table = table(&[("", "/admin"), ("", "/secret/{*rest}"), ("", "/{*rest}")]);
    assert_eq!(find(&table, "GET", "/admin"), Ok(0));
    assert_eq!(find(&table, "GET", "/admin/"), Err(Reason::AmbiguousPath));
    assert_eq!(find(&table, "GET", "/secret"), Err(Reason::AmbiguousPath));
    assert_eq!(find(&table, "GET", "/secret/"), Ok(1));
    assert_eq!(find(&table, "GET", "/other/"), Ok(2));
    assert_eq!(find(&table, "GET", "/"), Ok(2));
}

#[test]
fn a_host_has_its_own_routes_and_those_of_every_host() {
    let table = table(&[("", "/a"), ("", "h/b"), ("", "other/c")]);
    assert_eq!(find(&table, "GET", "/a"), Ok(0));
    assert_eq!(find(&table, "GET", "/b"), Ok(1));
    assert_eq!(find(&table, "GET", "/c"), Err(Reason::NoRoute));
    assert!(table.find("third", &Method::GET, "/b").is_err());
}

#[test]
fn routes_that_match_the_same_requests_conflict() {
    let conflict = |routes: &[(&str, &str)]| try_table(routes).err();
    assert_eq!(conflict(&[("GET", "/a/{id}"), ("", "/a/{x}")]), Some(TableError::Conflict(0, 1)));
    assert_eq!(conflict(&[("GET", "/a"), ("HEAD", "/a")]), Some(TableError::Conflict(0, 1)));
    assert_eq!(conflict(&[("GET", "/a"), ("GET", "h/a")]), Some(TableError::Conflict(0, 1)));
    assert_eq!(conflict(&[("GET", "/a/{id}"), ("POST", "/a/{x}")]), None);
    let indistinct = conflict(&[("", "/a/{b}"), ("", "/a/{*c}")]);
    assert!(matches!(indistinct, Some(TableError::Pattern(1, _))), "{indistinct:?}");
}

#[test]
fn parameters_go_by_the_name_that_the_route_gives_them() {
    let table = table(&[("GET", "/a/{id}/b/{*rest}"), ("POST", "/a/{x}/b/{*y}")]);
    let get = table.find("h", &Method::GET, "/a/1%20/b/c/d").unwrap();
    assert_eq!((get.parameter("id"), get.parameter("rest")), (Some("1%20"), Some("c/d")));
    assert_eq!(get.parameter("x"), None);
    let post = table.find("h", &Method::POST, "/a/1/b/c").unwrap();
    assert_eq!((post.parameter("x"), post.parameter("y")), (Some("1"), Some("c")));
}

proptest! {
    /// What matchit alone finds in a table without catch-alls is what we find.
    #[test]
    fn the_table_reads_paths_as_matchit_does(path in "(/[abc]{1,2}){1,4}") {
        let patterns = ["/a/{p}", "/a/b", "/a/b/{p}/c", "/{p}", "/b/{p}/{q}", "/{p}/c"];
        let mut router = Router::new();
        for (at, pattern) in patterns.iter().enumerate() {
            router.insert(*pattern, at).unwrap();
        }
        let table = table(&patterns.map(|pattern| ("", pattern)));
        let expected = router.at(&path).map(|found| *found.value).map_err(|_| Reason::NoRoute);
        prop_assert_eq!(find(&table, "GET", &path), expected);
    }
}

#[test]
fn the_start_of_a_path_is_its_first_two_segments() {
    for (path, expected) in [
        ("/", None),
        ("/api", None),
        ("/api/", None),
        ("/api/did", Some("/api/did")),
        ("/api/did/", Some("/api/did")),
        ("/api/did/v1/1", Some("/api/did")),
        ("/api/{*rest}", Some("/api/{*rest}")),
    ] {
        assert_eq!(start(path), expected, "{path}");
    }
}

fn segments(all: &'static [&'static str]) -> impl Strategy<Value = String> {
    let path = prop::collection::vec(prop::sample::select(all), 1..5);
    path.prop_map(|segments| format!("/{}", segments.join("/")))
}

proptest! {
    /// Whatever routes there are: the router of a path's beginning answers as the one of all.
    #[test]
    fn a_start_of_its_own_changes_no_answer(
        patterns in prop::collection::vec(segments(&["a", "b", "ab", "{x}", "{*rest}", ""]), 1..12),
        paths in prop::collection::vec(segments(&["a", "b", "ab", "abc", "c", ""]), 1..30),
    ) {
        let mut branch = Branch::default();
        let parsed = patterns.iter().map(|text| {
            // One name in a pattern only once.
            let mut number = 0;
            text.split_inclusive("{x}").map(|part| {
                number += 1;
                part.replace("{x}", &format!("{{x{number}}}"))
            }).collect::<String>()
        });
        for (index, path) in parsed.filter_map(|text| PathPattern::parse(&text).ok()).enumerate() {
            let pattern = Pattern { path, hosts: vec![], methods: Methods::EVERY };
            let _ = branch.insert(index, &pattern);
        }
        prop_assume!(branch.finish().is_ok());
        for path in &paths {
            let whole = branch.router.at(path).ok();
            let quick = branch.at(path);
            prop_assert_eq!(
                whole.as_ref().map(|found| found.value),
                quick.as_ref().map(|found| found.value),
                "{}", path
            );
            if let (Some(whole), Some(quick)) = (whole, quick) {
                prop_assert!(whole.params.iter().map(|(_, v)| v).eq(quick.params.iter().map(|(_, v)| v)));
            }
        }
    }
}
