use std::{collections::BTreeMap, path::PathBuf};

use proptest::prelude::*;

use super::*;

pub(in crate::policy) const SAMPLE: &str = include_str!("../testdata/openapi.yaml");

/// Demand and places of every operation of the sample, as `METHOD path`.
fn sample() -> BTreeMap<String, String> {
    let document = read(SAMPLE).unwrap();
    let operations = document.operations.iter().map(|operation| {
        let demand = match &operation.demand {
            Demand::Nothing => "public".to_owned(),
            Demand::Authentication => "known".to_owned(),
            Demand::AnyOf(names) => {
                names.iter().map(Permission::as_str).collect::<Vec<_>>().join("|")
            }
        };
        let places = operation.places.iter().map(|named| {
            let optional = if named.optional { "?" } else { "" };
            format!(" {:?}{optional}", named.place)
        });
        let far = operation.out_of_reach.iter().map(|place| format!(" !{place}"));
        let key = format!("{} {}", operation.method.as_str(), operation.path);
        (key, demand + &places.chain(far).collect::<String>())
    });
    operations.collect()
}

#[test]
fn every_rule_of_the_import() {
    let expected = [
        ("GET /.well-known/openid-credential-issuer/{id}", "public"),
        ("POST /api/batch/v1", "KEY_CREATE !/*/organisationId !/organisationId"),
        ("GET /api/build-info/v1", "known"),
        ("DELETE /api/cache/v1", "CACHE_DELETE"),
        ("GET /api/config/v1", "known"),
        ("GET /api/history/v1", r#"HISTORY_LIST Query("organisationIds[]")?"#),
        ("GET /api/key/v1", r#"KEY_DETAIL|KEY_LIST Query("organisationId")?"#),
        ("POST /api/key/v1", r#"KEY_CREATE Body("/organisationId")?"#),
        ("GET /api/key/v1/{id}", r#"KEY_DETAIL Query("organisationId")"#),
        ("PATCH /api/key/v1/{id}", r#"BRAND_NEW Query("organisationId")?"#),
        ("GET /api/organisation/v1/{id}", r#"STS_ORGANISATION_DETAIL Path("id")"#),
        (
            "POST /api/proof-schema/v1/import",
            r#"PROOF_SCHEMA_CREATE Body("/organisationId") Body("/schema/organisationId")"#,
        ),
        ("GET /health", "public"),
        ("GET /healthy", "known"),
        ("GET /metrics-of-ours", "known"),
        ("GET /ssi/inward/v1", "known"),
        ("GET /ssi/named/v1", "KEY_LIST"),
        ("POST /ssi/offer/v1/{id}", "public"),
        ("GET /ssi/vct/v1/{organisationId}", "public"),
    ];
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    assert_eq!(sample(), expected);
    let left_out = read(SAMPLE).unwrap().left_out;
    let left_out: Vec<_> =
        left_out.iter().map(|(method, path)| format!("{} {path}", method.as_str())).collect();
    assert_eq!(
        left_out,
        [
            "GET /api-docs/openapi.json",
            "GET /metrics",
            "GET /swagger-ui/{*rest}",
            "POST /vc-api/credentials/issue",
        ]
    );
}

#[test]
fn what_is_not_understood_is_an_error_and_no_open_route() {
    let with = |path: &str| {
        format!("{{ openapi: 3.0.3, info: {{ title: a, version: b }}, paths: {{ {path} }} }}")
    };
    assert!(read(&with("/api/a: { get: {} }")).is_ok());
    for (text, words) in [
        ("", "`openapi` is not 3.x"),
        ("]", "no OpenAPI document"),
        ("{ openapi: 2.0 }", "`openapi` is not 3.x"),
        ("{ openapi: 3.1.0, info: {} }", "no `paths`"),
        ("{ openapi: 3.1.0, info: { title: a }, paths: {} }", "info.version"),
        (&with("/a: { get: {} }, /a: { get: {} }"), "duplicate"),
        (&with("/a: { get: { x-permissions: [] } }"), "GET /a: x-permissions is empty"),
        (&with("/a: { get: { x-permissions: KEY_LIST } }"), "x-permissions is no list"),
        (&with("/a: { get: { x-permissions: [key-list] } }"), "no permission"),
        (&with("/a: { trace: {} }"), "TRACE /a: no route can have this method"),
        (&with("'/a b': { get: {} }"), "GET /a b: the path"),
        (&with("'/a/{x}': { get: {} }, '/a/{y}': { get: {} }"), "same requests as /a/{x}"),
        (&with("/a: { $ref: 'other.yaml#/a' }"), "leads nowhere"),
        (&with("/a: { $ref: '#/paths/~1a' }"), "circle"),
        (&with("/a: { get: { parameters: [ { $ref: '#/x' } ] } }"), "leads nowhere"),
    ] {
        let found = read(text).unwrap_err().to_string();
        assert!(found.contains(words), "{text}: {found}");
    }
    let lists = "openapi: 3.1.0\na: &a [x, x]\nb: [*a, *a]\n";
    assert!(read(lists).unwrap_err().to_string().contains("alias"));
    let long = " ".repeat(LONGEST_DOCUMENT + 1);
    assert!(read(&long).unwrap_err().to_string().contains("longer than 4 MiB"));
}

#[test]
fn a_schema_that_branches_without_end_is_given_up() {
    use std::fmt::Write as _;
    let mut schemas = String::new();
    for at in 0..40 {
        let next = format!("{{ $ref: '#/components/schemas/s{}' }}", at + 1);
        writeln!(schemas, "    s{at}: {{ allOf: [ {next}, {next} ] }}").unwrap();
    }
    let text = format!(
        "openapi: 3.1.0\ninfo: {{ title: a, version: b }}\npaths:\n  /a: {{ post: {{ requestBody: {{ \
         content: {{ application/json: {{ schema: {{ $ref: '#/components/schemas/s0' }} }} }} }} }} \
         }}\ncomponents:\n  schemas:\n{schemas}    s40: {{}}\n"
    );
    assert!(read(&text).unwrap_err().to_string().contains("too large"));
}

/// The documents of Core lie beside the repository, and are not part of it.
pub(in crate::policy) fn of_core(name: &str) -> Option<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(_) if std::env::var_os("PORTCULLIS_WITHOUT_CORE_DOCUMENT").is_some() => None,
        Err(error) => panic!(
            "{}: {error}; put Core's documents there, or set PORTCULLIS_WITHOUT_CORE_DOCUMENT to \
             go without this test",
            path.display()
        ),
    }
}

#[test]
fn the_file_shipped_for_core_1_74_2_is_what_its_document_gives() {
    let Some(text) = of_core("core-openapi-1.74.2.json") else { return };
    let document = read(&text).unwrap();
    let made = crate::policy::routes_file::render(&document, "core", "core-openapi-1.74.2.json");
    let shipped = include_str!("../../../conf/core-1.74.2-routes.yaml");
    assert!(
        made == shipped,
        "run: portcullis policy import core-openapi-1.74.2.json > conf/core-1.74.2-routes.yaml"
    );
}

#[test]
fn the_perimeter_and_its_table_for_core_1_74_2_are_what_its_document_gives() {
    let Some(text) = of_core("core-openapi-1.74.2.json") else { return };
    let document = read(&text).unwrap();
    let source = "core-openapi-1.74.2.json";
    let made = crate::policy::routes_file::render_perimeter(&document, "core", source);
    let routes = include_str!("../../../conf/core-1.74.2-perimeter-routes.yaml");
    assert!(
        made == routes,
        "run: portcullis policy import --perimeter {source} > \
         conf/core-1.74.2-perimeter-routes.yaml"
    );
    let table = include_str!("../../../conf/core-1.74.2-operations.md");
    assert!(
        perimeter::table(&document) == table,
        "run: portcullis policy import --perimeter --table {source} > conf/core-1.74.2-operations.md"
    );
    // Complete: each operation of the document below /api has its row, and those that are closed
    // have no route.
    let raw: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut rows = 0;
    for (path, item) in raw["paths"].as_object().unwrap() {
        if !path.starts_with("/api/") {
            continue;
        }
        for verb in ["get", "put", "post", "delete", "patch"] {
            if item.get(verb).is_none() {
                continue;
            }
            let row = format!("| {} | `{path}` | ", verb.to_uppercase());
            let row = table.lines().find(|line| line.starts_with(&row));
            let row = row.unwrap_or_else(|| panic!("{verb} {path} has no row"));
            let route = format!("- path: {path}\n  methods: [{}]\n", verb.to_uppercase());
            assert_ne!(row.contains("**closed**"), routes.contains(&route), "{row}");
            rows += 1;
        }
    }
    assert_eq!(table.lines().filter(|line| line.contains("| `/api/")).count(), rows);
    assert!(rows > 100, "{rows}");
}

/// Row by row: method and shape of path, then permissions and where the organisation stands.
#[test]
fn every_row_of_core_1_74_2_is_in_the_shipped_file() {
    let (Some(json), Some(table)) =
        (of_core("core-openapi-1.74.2.json"), of_core("core-permissions.tsv"))
    else {
        return;
    };
    let shipped: Value =
        serde_yaml::from_str(include_str!("../../../conf/core-1.74.2-routes.yaml")).unwrap();
    let mut routes = BTreeMap::new();
    for route in shipped["routes"].as_sequence().unwrap() {
        let method = route["methods"][0].as_str().unwrap();
        let shape = PathPattern::parse(route["path"].as_str().unwrap()).unwrap().shape();
        assert!(routes.insert(format!("{method} {shape}"), route).is_none());
    }
    let permissions = |route: &Value| {
        let names = route.get("permissions").and_then(Value::as_sequence).into_iter().flatten();
        names.map(|name| name.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };

    // The document: each operation with x-permissions, with exactly these.
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    let mut with_permissions = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            let Some(names) = operation.get("x-permissions") else { continue };
            with_permissions += 1;
            let shape = PathPattern::parse(path).unwrap().shape();
            let names: BTreeSet<_> =
                names.as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_owned()).collect();
            let route = routes[&format!("{} {shape}", verb.to_ascii_uppercase())];
            assert_eq!(permissions(route), names, "{verb} {path}");
            assert_eq!(
                route["accept"],
                serde_yaml::from_str::<Value>("[session, iam, app]").unwrap()
            );
        }
    }
    assert_eq!(with_permissions, 110);

    // The table, which was made from Core's source: every row, and no route beside them.
    let mut rows = 0;
    for row in table.lines() {
        let [method, path, names, organisation] =
            row.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let route =
            routes.remove(&format!("{method} {}", PathPattern::parse(path).unwrap().shape()));
        let Some(route) = route else {
            // What no client may reach, and what Core serves but does not document.
            let undocumented = ["/.well-known/oauth-authorization-server/ssi/", "/ssi/openid4vci/"]
                .iter()
                .any(|prefix| path.starts_with(prefix) && path.contains("final-1.0-swiyu"));
            assert!(under(path, LEFT_OUT) || undocumented, "{method} {path} has no route");
            continue;
        };
        rows += 1;
        let public = route.get("access").and_then(Value::as_str) == Some("public");
        assert_eq!(public, names == "PUBLIC", "{method} {path}");
        if !public {
            let names: BTreeSet<_> = names
                .split(',')
                .filter(|name| *name != "AUTHENTICATED")
                .map(str::to_owned)
                .collect();
            assert_eq!(permissions(route), names, "{method} {path}");
            assert_eq!(places(route), told(organisation), "{method} {path}");
        }
    }
    assert_eq!((rows, routes.len()), (165, 0), "{:?}", routes.keys());
}

/// Where a route looks: `query:organisationId`, `body:/schema/organisationId`, …
fn places(route: &Value) -> BTreeSet<String> {
    let organisation = route.get("organisation");
    let list = organisation.map(|places| match places.as_sequence() {
        Some(list) => list.clone(),
        None => vec![places.clone()],
    });
    let named = list.into_iter().flatten().map(|place| {
        let (kind, name) = place.as_mapping().unwrap().iter().next().unwrap();
        format!("{}:{}", kind.as_str().unwrap(), name.as_str().unwrap())
    });
    named.collect()
}

/// The same of a row of the table; what stands there as indirect names no organisation itself.
fn told(row: &str) -> BTreeSet<String> {
    let direct = |part: &&str| {
        part.contains("rganisation")
            || *part == "path:{id}"
            || part.starts_with("path:{id} (upsert)")
    };
    row.split("; also ")
        .filter(|part| ["query:", "body:", "path:"].iter().any(|kind| part.starts_with(kind)))
        .filter(direct)
        .filter_map(|part| {
            let (kind, name) = part.split_whitespace().next()?.split_once(':')?;
            match kind {
                // The identifier of one that is to be made is no organisation yet.
                "body" if name == "id" => None,
                "body" => Some(format!("body:/{}", name.trim_end_matches(';').replace('.', "/"))),
                "path" => Some(format!("path:{}", name.trim_matches(['{', '}']))),
                _ => Some(format!("{kind}:{}", name.trim_end_matches(';'))),
            }
        })
        .collect()
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = read(&text);
    }

    /// Lines of the sample, some of them lost, doubled or cut.
    #[test]
    fn any_damage_is_survived(edits in proptest::collection::vec((0_usize..90, 0_usize..4, 0_usize..60), 0..8)) {
        let mut lines: Vec<String> = SAMPLE.lines().map(str::to_owned).collect();
        for (at, what, column) in edits {
            let at = at % lines.len();
            match what {
                0 => _ = lines.remove(at),
                1 => lines.insert(at, lines[at].clone()),
                2 => lines[at] = lines[at].chars().take(column).collect(),
                _ => lines[at] = lines[at].chars().skip(column).collect(),
            }
        }
        if let Ok(document) = read(&lines.join("\n")) {
            let open = document.operations.iter().filter(|o| o.demand == Demand::Nothing);
            for operation in open {
                prop_assert!(under(operation.path.as_str(), PROTOCOLS), "{operation:?}");
            }
        }
    }
}

/// Whoever names their own organisation in the query could name another's resource in the path.
#[test]
fn a_resource_in_the_path_is_looked_up_whatever_else_a_request_names() {
    let told = "responses: { '200': { content: { application/json: { schema: { type: object, \
                properties: { organisationId: { type: string } } } } } } }";
    let in_query = "parameters: [ { name: organisationId, in: query, required: true } ]";
    let text = format!(
        "openapi: 3.1.0\ninfo: {{ title: Things, version: 1.0.0 }}\npaths:\n  \
         /api/thing/v1/{{id}}:\n    get: {{ x-permissions: [A], {told} }}\n  \
         /api/thing/v1/{{id}}/share:\n    post: {{ x-permissions: [A], {in_query} }}\n  \
         /api/secret/v1/{{id}}:\n    get: {{ x-permissions: [A], {in_query} }}\n  \
         /api/part/v1/{{organisationId}}:\n    get: {{ x-permissions: [A] }}\n"
    );
    let document = read(&text).unwrap();
    let of = |path: &str| {
        let operation = document.operations.iter().find(|it| it.path.as_str() == path).unwrap();
        perimeter::separation(&document, operation)
    };
    let perimeter::Separation::Places(places) = of("/api/thing/v1/{id}/share") else {
        panic!("it is closed");
    };
    let places: Vec<_> = places.into_iter().map(|it| it.place).collect();
    let lookup = Place::Lookup {
        path: "/api/thing/v1/{id}".to_owned(),
        pointer: "/organisationId".to_owned(),
    };
    assert_eq!(places, [Place::Query("organisationId".to_owned()), lookup]);
    let closed = of("/api/secret/v1/{id}");
    assert!(matches!(closed, perimeter::Separation::Closed(_)), "{closed:?}");
    // The parameter is the organisation itself.
    let own = of("/api/part/v1/{organisationId}");
    assert!(matches!(own, perimeter::Separation::Places(places) if places.len() == 1));
}
