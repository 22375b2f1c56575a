use proptest::prelude::*;

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn read(line: &str) -> Option<TraceParent> {
    let mut headers = HeaderMap::new();
    headers.insert(TRACEPARENT, line.parse().unwrap());
    TraceParent::read(&headers)
}

fn state_of(lines: &[&str]) -> Option<String> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(TRACESTATE, line.parse().unwrap());
    }
    state(&headers).map(|value| value.to_str().unwrap().to_owned())
}

fn sent(parent: TraceParent) -> String {
    parent.header().unwrap().to_str().unwrap().to_owned()
}

/// The examples and cases of section 3.2.
#[test]
fn a_parent_is_read_as_the_specification_has_it() {
    for (line, again) in [
        (format!("00-{TRACE}-{SPAN}-01"), format!("00-{TRACE}-{SPAN}-01")),
        (format!("00-{TRACE}-{SPAN}-00"), format!("00-{TRACE}-{SPAN}-00")),
        (format!("00-{TRACE}-{SPAN}-03"), format!("00-{TRACE}-{SPAN}-03")),
        (format!("00-{TRACE}-{SPAN}-ff"), format!("00-{TRACE}-{SPAN}-03")),
        (format!("01-{TRACE}-{SPAN}-03"), format!("00-{TRACE}-{SPAN}-01")),
        (format!("cc-{TRACE}-{SPAN}-01-what-the-future-brings"), format!("00-{TRACE}-{SPAN}-01")),
    ] {
        assert_eq!(sent(read(&line).unwrap()), again);
        assert_eq!(read(&line).unwrap().trace.to_string(), TRACE);
    }
    for wrong in [
        String::new(),
        "00".to_owned(),
        format!("00-{TRACE}-{SPAN}-1"),
        format!("00-{TRACE}-{SPAN}-01-"),
        format!("00-{TRACE}-{SPAN}-01-more"),
        format!("01-{TRACE}-{SPAN}-01more"),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("0-{TRACE}-{SPAN}-0001"),
        format!("00_{TRACE}_{SPAN}_01"),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
        format!("00-{}-{SPAN}-01", "0".repeat(32)),
        format!("00-{TRACE}-{}-01", "0".repeat(16)),
        format!("00-{TRACE}-{SPAN}-0g"),
        format!(" 00-{TRACE}-{SPAN}-01"),
    ] {
        assert_eq!(read(&wrong), None, "{wrong:?}");
    }
    let mut twice = HeaderMap::new();
    for _ in 0..2 {
        twice.append(TRACEPARENT, format!("00-{TRACE}-{SPAN}-01").parse().unwrap());
    }
    assert_eq!(TraceParent::read(&twice), None);
}

#[test]
fn a_state_is_handed_on_or_left_out() {
    assert_eq!(state_of(&["congo=t61rcWkgMzE"]).unwrap(), "congo=t61rcWkgMzE");
    assert_eq!(state_of(&["a=1", "b=2 c"]).unwrap(), "a=1,b=2 c");
    assert_eq!(state_of(&["a=1,, b@c=2,"]).unwrap(), "a=1,, b@c=2,");
    for wrong in [
        &[][..],
        &[""],
        &["a"],
        &["a="],
        &["=1"],
        &["A=1"],
        &["a=1=2"],
        &["a=1,a=2"],
        &["a=1", "a=2"],
        &["a=1", "b"],
    ] {
        assert_eq!(state_of(wrong), None, "{wrong:?}");
    }
    let numbered = |count: usize| (0..count).map(|at| format!("k{at}=v")).collect::<Vec<_>>();
    assert!(state_of(&[&numbered(32).join(",")]).is_some());
    assert!(state_of(&[&numbered(33).join(",")]).is_none());
}

#[test]
fn a_long_state_loses_its_long_members_first_and_then_the_last() {
    let long = format!("long={}", "x".repeat(200));
    let short: Vec<_> = (0..5).map(|at| format!("k{at}={}", "y".repeat(90))).collect();
    let kept = state_of(&[&long, &short.join(",")]).unwrap();
    assert_eq!(kept, short.join(","));
    let many: Vec<_> = (0..9).map(|at| format!("k{at}={}", "y".repeat(90))).collect();
    assert_eq!(state_of(&[&many.join(",")]).unwrap(), many[..5].join(","));
    assert_eq!(state_of(&[&"a=1,".repeat(3000)]), None);
}

#[test]
fn no_id_is_all_zeros() {
    assert_eq!(TraceId::new([0; 16]).to_string(), format!("{:032x}", 1));
    assert_eq!(SpanId::new([0; 8]).bytes(), &1_u64.to_be_bytes());
}

proptest! {
    #[test]
    fn what_is_sent_is_read_again(trace: [u8; 16], span: [u8; 8], flags in 0_u8..4) {
        let parent = TraceParent { trace: TraceId::new(trace), span: SpanId::new(span), flags };
        prop_assert_eq!(read(&sent(parent)), Some(parent));
    }

    #[test]
    fn any_line_is_one_or_none(line in "[ -~]{0,80}") {
        if let Some(parent) = read(&line) {
            prop_assert!(line.contains(&parent.trace.to_string()));
        }
    }

    /// One character of a good one changed: still the same fields elsewhere, or none at all.
    #[test]
    fn damage_is_noticed(at in 0_usize..55, to in "[ -~]") {
        let good = format!("00-{TRACE}-{SPAN}-01");
        let mut line = good.clone();
        line.replace_range(at..=at, &to);
        if let Some(parent) = read(&line) {
            let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
            prop_assert!(to.chars().all(hex) || line == good);
            prop_assert!(at != 0 && at != 1 || sent(parent).starts_with("00-"));
        }
    }

    #[test]
    fn a_state_that_is_handed_on_is_short_and_good(lines in prop::collection::vec("[a-c=,@ ]{0,400}", 0..5)) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        if let Some(state) = state_of(&lines) {
            prop_assert!(state.len() <= 512);
            prop_assert_eq!(state_of(&[&state]), Some(state));
        }
    }
}
