use super::*;
use crate::{
    permission::{Permission, PermissionSet},
    policy::import::{self, tests::SAMPLE},
};

const HOST: &str = "desk.example.com";

fn rule(methods: &[&'static str], path: &str, permissions: &str) -> Rule {
    let names: PermissionSet =
        permissions.split_whitespace().map(|name| Permission::parse(name).unwrap()).collect();
    Rule {
        pattern: Pattern {
            path: PathPattern::parse(path).unwrap(),
            hosts: Vec::new(),
            methods: Methods::new(methods.iter().copied()),
        },
        methods: methods.to_vec(),
        ours: true,
        public: false,
        permissions: if names.is_empty() {
            Requirement::Nothing
        } else {
            Requirement::AnyOf(names)
        },
        place: "r.yaml:1".into(),
    }
}

fn public(methods: &[&'static str], path: &str) -> Rule {
    Rule { public: true, ..rule(methods, path, "") }
}

fn of_bff(methods: &[&'static str], path: &str) -> Rule {
    Rule { ours: false, ..rule(methods, path, "") }
}

/// The rules that the sample's own import has.
fn imported() -> Vec<Rule> {
    let document = import::read(SAMPLE).unwrap();
    let rules = document.operations.iter().map(|operation| {
        let permissions = match &operation.demand {
            Demand::AnyOf(names) => {
                names.iter().map(Permission::as_str).collect::<Vec<_>>().join(" ")
            }
            _ => String::new(),
        };
        let public = operation.demand == Demand::Nothing;
        Rule { public, ..rule(&[operation.method.as_str()], operation.path.as_str(), &permissions) }
    });
    rules.collect()
}

fn lines(rules: &[Rule]) -> Vec<String> {
    let found = compare(rules, &[HOST], &import::read(SAMPLE).unwrap()).unwrap();
    found.iter().map(ToString::to_string).collect()
}

fn without(rules: Vec<Rule>, path: &str) -> Vec<Rule> {
    rules.into_iter().filter(|rule| rule.pattern.path.as_str() != path).collect()
}

#[test]
fn an_import_agrees_with_its_own_document() {
    assert_eq!(lines(&imported()), Vec::<String>::new());
}

#[test]
fn one_changed_one_removed_and_one_added_are_exactly_three() {
    let mut rules = without(imported(), "/api/config/v1");
    let changed =
        rules.iter_mut().find(|rule| rule.pattern.path.as_str() == "/api/cache/v1").unwrap();
    changed.permissions = rule(&[], "/", "KEY_LIST").permissions;
    rules.push(rule(&["PUT"], "/api/cache/v1/extra", "CACHE_DELETE"));
    assert_eq!(
        lines(&rules),
        [
            "DELETE /api/cache/v1: the rule asks for any of KEY_LIST, the document for any of \
             CACHE_DELETE (r.yaml:1)",
            "PUT /api/cache/v1/extra: no operation is like this rule (r.yaml:1)",
            "GET /api/config/v1: no route leads to this operation",
        ]
    );
}

#[test]
fn access_that_differs_is_told_either_way() {
    let mut rules = without(without(imported(), "/api/cache/v1"), "/health");
    rules.extend([public(&["DELETE"], "/api/cache/v1"), rule(&["GET"], "/health", "")]);
    assert_eq!(
        lines(&rules),
        [
            "DELETE /api/cache/v1: the rule is public, the document is not (r.yaml:1)",
            "GET /health: the document is public, the rule is not (r.yaml:1)",
        ]
    );
}

#[test]
fn a_wide_public_rule_covers_public_operations_and_opens_no_other() {
    let mut rules = without(imported(), "/ssi/offer/v1/{id}");
    rules.push(public(&[], "/ssi/{*rest}"));
    assert_eq!(lines(&rules), Vec::<String>::new());
    let rules = without(rules, "/ssi/named/v1");
    assert_eq!(
        lines(&rules),
        ["GET /ssi/named/v1: the rule is public, the document is not (r.yaml:1)"]
    );
}

#[test]
fn a_wide_rule_beside_every_single_one_is_about_something_only_where_it_is_as_open() {
    let mut rules = imported();
    rules.push(public(&[], "/ssi/{*rest}"));
    assert_eq!(lines(&rules), Vec::<String>::new());
    rules.push(public(&[], "/api/key/{*rest}"));
    assert_eq!(lines(&rules), ["* /api/key/{*rest}: no operation is like this rule (r.yaml:1)"]);
}

#[test]
fn another_upstream_covers_nothing_and_is_asked_for_nothing() {
    let mut rules = without(imported(), "/api/config/v1");
    rules.extend([of_bff(&[], "/{*rest}"), of_bff(&["GET"], "/api/bff/v1")]);
    assert_eq!(lines(&rules), ["GET /api/config/v1: no route leads to this operation"]);
    // Nor does a wide route of ours where a narrower one of theirs stands before it.
    let mut rules = without(imported(), "/api/config/v1");
    rules.extend([rule(&[], "/api/{*rest}", ""), of_bff(&[], "/api/config/v1")]);
    assert_eq!(lines(&rules), ["GET /api/config/v1: no route leads to this operation"]);
}

#[test]
fn every_host_is_asked() {
    let on = |host: &str, rule: Rule| {
        let pattern = Pattern { hosts: vec![host.into()], ..rule.pattern };
        Rule { pattern, ..rule }
    };
    let mut rules = without(imported(), "/api/cache/v1");
    rules.push(on("core.example.com", rule(&["DELETE"], "/api/cache/v1", "CACHE_DELETE")));
    rules.push(on("open.example.com", public(&["DELETE"], "/api/cache/v1")));
    let document = import::read(SAMPLE).unwrap();
    let found = compare(&rules, &["core.example.com"], &document).unwrap();
    let told: Vec<_> = found.iter().map(|found| &found.kind).collect();
    assert_eq!(told, [&Kind::NoOperation], "the host of the other rule is not answered");
    let found = compare(&rules, &["core.example.com", "open.example.com"], &document).unwrap();
    let told: Vec<_> = found.iter().map(|found| &found.kind).collect();
    assert_eq!(told, [&Kind::Access { open: true }]);
}

#[test]
fn methods_are_told_apart() {
    let mut rules = without(imported(), "/api/cache/v1");
    rules.push(rule(&["DELETE", "GET", "HEAD"], "/api/cache/v1", "CACHE_DELETE"));
    assert_eq!(
        lines(&rules),
        [
            "GET /api/cache/v1: no operation is like this rule (r.yaml:1)",
            "HEAD /api/cache/v1: no operation is like this rule (r.yaml:1)",
        ]
    );
    let mut rules = without(imported(), "/api/config/v1");
    rules.push(rule(&["GET", "HEAD"], "/api/config/v1", ""));
    assert_eq!(lines(&rules), Vec::<String>::new(), "HEAD goes with GET");
    let mut rules = without(imported(), "/api/config/v1");
    rules.push(rule(&[], "/api/config/v1", ""));
    assert_eq!(lines(&rules), Vec::<String>::new(), "every method names none");
}

#[test]
fn what_the_import_leaves_out_is_known_all_the_same() {
    let mut rules = imported();
    rules.push(public(&["GET"], "/metrics"));
    assert_eq!(lines(&rules), Vec::<String>::new());
}

#[test]
fn all_of_one_permission_is_any_of_it() {
    let mut rules = imported();
    for rule in &mut rules {
        if let Requirement::AnyOf(names) = &rule.permissions {
            rule.permissions = Requirement::AllOf(names.clone());
        }
    }
    assert_eq!(
        lines(&rules),
        [
            "GET /api/key/v1: the rule asks for all of KEY_DETAIL, KEY_LIST, the document for any of \
             KEY_DETAIL, KEY_LIST (r.yaml:1)"
        ]
    );
}
