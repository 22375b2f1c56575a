use super::*;
use crate::policy::import::{self, tests::SAMPLE};

fn with(title: &str, path: &str) -> String {
    let text = format!(
        "{{ openapi: 3.1.0, info: {{ title: {title}, version: '1' }}, paths: {{ {path}: {{ get: {{ \
         x-permissions: [KEY_LIST] }} }} }} }}"
    );
    render(&import::read(&text).unwrap(), "core", "openapi.json")
}

#[test]
fn the_file_of_the_sample() {
    let document = import::read(SAMPLE).unwrap();
    let made = render(&document, "core", "openapi.yaml");
    assert_eq!(made, include_str!("../testdata/routes.yaml"));
}

#[test]
fn order_in_the_document_does_not_count() {
    let path = |name: &str| format!("{name}: {{ get: {{}}, post: {{}} }}");
    let (a, b) = (path("/api/a"), path("/api/b"));
    let made = |first: &str, second: &str| {
        let head = "openapi: 3.1.0, info: { title: a, version: b }";
        let text = format!("{{ {head}, paths: {{ {first}, {second} }} }}");
        render(&import::read(&text).unwrap(), "core", "x")
    };
    assert_eq!(made(&a, &b), made(&b, &a));
}

#[test]
fn nothing_in_a_document_gets_out_of_its_comment_or_text() {
    let made = with(r#""Core\n- path: /evil\u2028x""#, "'/api/a:'");
    assert!(made.starts_with("# Routes of Core - path: /evil x 1, one"), "{made}");
    assert!(made.contains("- path: \"/api/a:\"\n"), "{made}");
    let read: serde_yaml::Value = serde_yaml::from_str(&made).unwrap();
    assert_eq!(read["routes"].as_sequence().unwrap().len(), 1);
    let document = import::read(SAMPLE).unwrap();
    for name in ["null", "a: b", "1", "core #", "{x}", "no"] {
        let read: serde_yaml::Value = serde_yaml::from_str(&render(&document, name, name)).unwrap();
        assert_eq!(read["routes"][0]["upstream"].as_str(), Some(name));
    }
}
