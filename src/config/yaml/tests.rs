use proptest::prelude::*;

use super::*;

fn read(text: &str) -> (Option<Node>, Vec<String>) {
    let mut faults = Faults::default();
    let node = parse("f", text, &mut faults);
    (node, faults.sorted().iter().map(ToString::to_string).collect())
}

fn place(node: &Node, path: &str) -> String {
    node.at(&KeyPath::parse(path).unwrap()).unwrap().position.to_string()
}

#[test]
fn every_value_knows_its_place() {
    let (node, faults) = read("a: 1\nb:\n  - x: \"5\"\n    y: [p, q]\n  - z\n");
    let node = node.unwrap();
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!(place(&node, "a"), "f:1:4");
    assert_eq!(place(&node, "b[0].x"), "f:3:8");
    assert_eq!(place(&node, "b[0].y[1]"), "f:4:12");
    assert_eq!(place(&node, "b[1]"), "f:5:5");
    let missing = KeyPath::parse("b[0].nothing.there").unwrap();
    assert_eq!(node.nearest(&missing).to_string(), "f:3:5");
}

#[test]
fn quotes_keep_a_text_a_text() {
    let (node, _) = read("[5, \"5\", '5', ~, 'null', ]");
    let node = node.unwrap();
    let plain: Vec<_> = node
        .elements()
        .iter()
        .map(|element| matches!(element.value, Value::Scalar { plain: true, .. }))
        .collect();
    assert_eq!(plain, [true, false, false, true, false]);
    let nulls: Vec<_> = node.elements().iter().map(Node::is_null).collect();
    assert_eq!(nulls, [false, false, false, true, false]);
}

#[test]
fn what_can_be_read_in_two_ways_is_a_fault() {
    for (text, expected) in [
        ("a: 1\nb: 2\na: 3\n", "f:3:1: a: stands here twice"),
        ("a: &x 1\n", "f:1:4: a: an anchor"),
        ("a: &x 1\nb: *x\n", "f:2:4: b: an alias"),
        ("a: !!str 1\n", "a tag"),
        ("a:\n- b: { c: 1, c: 2 }\n", "f:2:14: a[0].b.c: stands here twice"),
        ("a: 1\n---\nb: 2\n", "a second document"),
        ("[a, b]: 1\n", "a key must be a word"),
        ("", "f:1:1: is empty"),
        ("# nothing\n", "is empty"),
        ("a: [1, 2\nb: 3\n", "is not YAML"),
        ("a: \"x\n", "is not YAML"),
    ] {
        let (_, faults) = read(text);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{text:?}: {faults:?}");
    }
}

#[test]
fn bounded() {
    let (node, faults) = read(&"[".repeat(DEEPEST + 1));
    assert!(node.is_none() && faults.iter().any(|f| f.contains("too deeply")), "{faults:?}");
    let (node, faults) = read(&format!("a: {}", "x".repeat(LONGEST_FILE)));
    assert!(node.is_none() && faults.iter().any(|f| f.contains("1 MiB")), "{faults:?}");
    let (node, faults) = read(&format!("[{}]", "1,".repeat(MOST_NODES + 1)));
    assert!(node.is_none() && faults.iter().any(|f| f.contains("too many")), "{faults:?}");
}

#[test]
fn neither_debug_nor_the_places_hold_text() {
    let (node, _) = read("a: hush\n");
    let node = node.unwrap();
    assert!(!format!("{node:?}").contains("hush"));
    let bare = node.without_text();
    assert_eq!(bare.key("a").and_then(Node::text), Some(""));
    assert_eq!(place(&bare, "a"), "f:1:4");
}

proptest! {
    #[test]
    fn any_text_gives_a_tree_or_a_fault(text in "\\PC{0,60}") {
        let (node, faults) = read(&text);
        prop_assert!(node.is_some() || !faults.is_empty());
    }

    #[test]
    fn yaml_like_text_gives_a_tree_or_a_fault(text in "[ab:\\-\\[\\]{},#&*!|>'\"%@?~ \\n\\t]{0,60}") {
        let (node, faults) = read(&text);
        prop_assert!(node.is_some() || !faults.is_empty());
    }
}
