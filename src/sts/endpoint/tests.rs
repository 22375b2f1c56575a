use super::*;

const FORM_TYPE: Option<&str> = Some("application/x-www-form-urlencoded; charset=UTF-8");
const ORGANISATION: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";

/// A good form, with one field changed, added, or left out.
fn form(name: &str, value: Option<&str>) -> String {
    let mut fields = vec![
        ("grant_type", GRANT),
        ("subject_token", "a.b.c"),
        ("subject_token_type", ACCESS_TOKEN),
        ("audience", "one-core"),
        ("organisationId", ORGANISATION),
    ];
    fields.retain(|(known, _)| *known != name);
    fields.extend(value.map(|value| (name, value)));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn read(name: &str, value: Option<&str>) -> Result<Asked, &'static str> {
    Asked::read(FORM_TYPE, form(name, value).as_bytes()).map_err(|fault| fault.error)
}

#[test]
fn a_good_form() {
    let asked = read("scope", Some("CREDENTIAL_LIST  CREDENTIAL_ISSUE")).unwrap();
    assert_eq!(asked.subject_token.expose_secret(), "a.b.c");
    assert_eq!(asked.audience.as_deref(), Some("one-core"));
    assert_eq!(asked.organisation, Organisation::parse(ORGANISATION));
    assert_eq!(asked.permissions.unwrap().len(), 2);
    assert_eq!(asked.issued_token_type, ACCESS_TOKEN);
    assert_eq!(read("requested_token_type", Some(JWT)).unwrap().issued_token_type, JWT);
    assert!(read("organisationId", Some("")).unwrap().organisation.is_none());
    assert!(read("client_id", Some("known-to-nobody")).is_ok());
}

#[test]
fn everything_else_has_its_error() {
    for (name, value, error) in [
        ("grant_type", None, "invalid_request"),
        ("grant_type", Some("client_credentials"), "unsupported_grant_type"),
        ("subject_token", None, "invalid_request"),
        ("subject_token", Some(""), "invalid_request"),
        ("subject_token_type", None, "invalid_request"),
        (
            "subject_token_type",
            Some("urn:ietf:params:oauth:token-type:id_token"),
            "invalid_request",
        ),
        ("requested_token_type", Some("urn:ietf:params:oauth:token-type:saml2"), "invalid_request"),
        ("organisationId", Some("acme"), "invalid_request"),
        ("actor_token", Some("d.e.f"), "invalid_request"),
        ("actor_token_type", Some(ACCESS_TOKEN), "invalid_request"),
        ("resource", Some("https://core.example.com"), "invalid_target"),
        ("scope", Some("credential.list"), "invalid_scope"),
        ("client_secret", Some("sesame"), "invalid_client"),
        ("client_assertion", Some("g.h.i"), "invalid_client"),
    ] {
        assert_eq!(read(name, value).unwrap_err(), error, "{name}={value:?}");
    }
}

#[test]
fn an_actor_token_comes_with_its_type() {
    let with = |kind: &str| {
        let actor = format!("{}&actor_token=d.e.f&actor_token_type={kind}", form("", None));
        Asked::read(FORM_TYPE, actor.as_bytes())
    };
    let asked = with(ACCESS_TOKEN).unwrap();
    assert_eq!(asked.actor_token.unwrap().expose_secret(), "d.e.f");
    assert!(with(JWT).is_ok());
    for kind in ["", "urn:ietf:params:oauth:token-type:id_token"] {
        assert_eq!(with(kind).unwrap_err().error, "invalid_request", "{kind}");
    }
}

#[test]
fn nothing_counts_twice_and_only_a_form_is_a_form() {
    let good = form("", None);
    for name in ["audience", "subject_token", "organisationId", "grant_type", "other"] {
        let twice = format!("{good}&{name}=&{name}=x");
        let fault = Asked::read(FORM_TYPE, twice.as_bytes()).unwrap_err();
        assert_eq!(fault.error, "invalid_request", "{name}");
    }
    for kind in [None, Some("application/json"), Some("application/x-www-form-urlencodedx")] {
        assert_eq!(Asked::read(kind, good.as_bytes()).unwrap_err().error, "invalid_request");
    }
}

#[test]
fn errors_are_oauth_errors_that_nobody_keeps() {
    let status = |fault: Fault| fault.answer().status.as_u16();
    assert_eq!(status(malformed("x")), 400);
    assert_eq!(status(no_clients()), 401);
    let down = Refusal::new(Reason::IamUnavailable, "x");
    let answer = Fault::from_refusal(&down).answer();
    assert_eq!(answer.status, 503);
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::PRAGMA, "no-cache"),
        (header::RETRY_AFTER, "5"),
    ] {
        assert!(
            answer.headers.iter().any(|(known, text)| *known == name && text == value),
            "{name}"
        );
    }
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["error"], "temporarily_unavailable");
}
