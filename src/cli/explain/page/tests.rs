use super::*;

fn refused() -> Explanation {
    let step = |step, verdict, detail: &str| Passage { step, verdict, detail: detail.into() };
    Explanation {
        decision: Verdict::Refuse,
        status: Some(403),
        reason: Some(Reason::PermissionMissing),
        route: Some("/api/a".into()),
        upstream: Some("core".into()),
        credential: None,
        organisation: None,
        subject: Some("alice".into()),
        would_refuse: None,
        steps: vec![
            step("view", StepVerdict::Pass, "GET /api/a on localhost"),
            step(
                "policy",
                StepVerdict::Refuse,
                "needs any of CREDENTIAL_ISSUE, CREDENTIAL_LIST; the caller holds nothing",
            ),
            step("credential", StepVerdict::Skip, ""),
        ],
    }
}

fn plain(width: usize) -> String {
    Page { width, colour: false }.render(&refused())
}

#[test]
fn wide() {
    let expected = "  ✓ view            GET /api/a on localhost
  ✗ policy          needs any of CREDENTIAL_ISSUE, CREDENTIAL_LIST
                    the caller holds nothing
  · credential

refuse 403 permission_missing
";
    assert_eq!(plain(100), expected);
    assert_eq!(plain(usize::MAX), expected);
}

#[test]
fn narrow() {
    let expected = "  ✓ view
      GET /api/a on
      localhost
  ✗ policy
      needs any of
      CREDENTIAL_ISSUE,
      CREDENTIAL_LIST
      the caller holds
      nothing
  · credential

refuse 403
permission_missing
";
    assert_eq!(plain(24), expected);
}

#[test]
fn no_line_is_wider_than_the_page() {
    for width in 20..100 {
        for line in plain(width).lines() {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn colour_is_only_paint() {
    let painted = Page { width: 80, colour: true }.render(&refused());
    assert!(painted.contains("\x1b[31m✗\x1b[0m"), "{painted}");
    let mut bare = String::new();
    let mut rest = painted.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        bare += before;
        rest = after.split_once('m').unwrap().1;
    }
    assert_eq!(bare + rest, plain(80));
}

#[test]
fn what_comes_from_outside_moves_no_cursor() {
    assert_eq!(wrapped("a\x1b[2Jb", 80), ["a\\u{1b}[2Jb"]);
}
