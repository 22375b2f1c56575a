use proptest::prelude::*;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

use super::*;

/// From the most general part to the most specific, as certificates have them.
fn made(subject: &[(DnType, &str)], also: Vec<SanType>) -> PeerCertificate {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), *value);
    }
    params.subject_alt_names = also;
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 2, 1);
    let key = KeyPair::generate().unwrap();
    PeerCertificate::read(params.self_signed(&key).unwrap().der())
}

fn has(certificate: &PeerCertificate, name: &str) -> bool {
    let name: CertificateName = name.parse().unwrap();
    certificate.names().any(|known| *known == name)
}

#[test]
fn a_certificate_is_known_by_its_subject_and_its_other_names() {
    let uri = SanType::URI("spiffe://acme/wrpr".try_into().unwrap());
    let dns = SanType::DnsName("WRPR.acme.example".try_into().unwrap());
    let email = SanType::Rfc822Name("wrpr@acme.example".try_into().unwrap());
    let subject = [(DnType::OrganizationName, "Acme, Inc."), (DnType::CommonName, "wrpr")];
    let certificate = made(&subject, vec![uri, dns, email]);
    for name in [
        r"subject:CN=wrpr,O=Acme\, Inc.",
        r"subject:cn=wrpr, o=Acme\, Inc.",
        r"subject:2.5.4.3=wrpr,2.5.4.10=Acme\, Inc.",
        "uri:spiffe://acme/wrpr",
        "dns:wrpr.acme.example",
        "email:wrpr@acme.example",
    ] {
        assert!(has(&certificate, name), "{name} in {certificate:?}");
    }
    for name in [
        "subject:CN=wrpr",
        r"subject:O=Acme\, Inc.,CN=wrpr",
        r"subject:CN=WRPR,O=Acme\, Inc.",
        "uri:spiffe://acme/wrpr/",
        "dns:acme.example",
        "email:WRPR@acme.example",
        "uri:dns:wrpr.acme.example",
    ] {
        assert!(!has(&certificate, name), "{name}");
    }
}

/// One part cannot hold what reads like two.
#[test]
fn a_part_that_looks_like_several_is_one() {
    let certificate = made(&[(DnType::CommonName, "wrpr,O=Acme")], vec![]);
    assert!(!has(&certificate, "subject:CN=wrpr,O=Acme"));
    assert!(has(&certificate, r"subject:CN=wrpr\,O=Acme"));
}

#[test]
fn a_certificate_has_its_time() {
    let certificate = made(&[(DnType::CommonName, "a")], vec![]);
    let (begins, ends) = (Timestamp(1_767_225_600), Timestamp(1_769_904_000));
    for (now, expected) in [
        (Timestamp(begins.0 - 1), false),
        (begins, true),
        (ends, true),
        (Timestamp(ends.0 + 1), false),
    ] {
        assert_eq!(certificate.is_in_time(now), expected, "{now:?}");
    }
}

#[test]
fn what_has_no_name_or_cannot_be_read_is_nobodys() {
    let nameless = |der: &[u8]| PeerCertificate::read(der).names().next().is_none();
    assert!(nameless(b"") && nameless(b"-----BEGIN"));
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let der = params.self_signed(&key).unwrap().der().to_vec();
    assert!(nameless(&der));
    let named = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap().cert.der().to_vec();
    assert!(!nameless(&named));
    assert!(nameless(&[&named[..], &[0]].concat()));
}

#[test]
fn names_that_are_none_are_refused() {
    for text in [
        "",
        "wrpr",
        "cn:wrpr",
        "subject:",
        "subject:wrpr",
        "subject:CN=",
        "subject:XX=a",
        "subject:CN=a+O=b",
        "subject:CN=#0403",
        r"subject:CN=a\",
        "subject:CN=a,",
        "dns:",
        "dns: a",
        "uri:wrpr",
        "email:wrpr",
        "dns:a\nb",
    ] {
        assert_eq!(text.parse::<CertificateName>(), Err(NotAName), "{text:?}");
    }
}

proptest! {
    #[test]
    fn a_name_that_is_written_reads_the_same(value in "[ -~]{1,30}", kind in 0..KINDS.len()) {
        let name = CertificateName::Subject(vec![
            (KINDS[kind].0.into(), value.into()),
            ("O".into(), "Acme".into()),
        ]);
        prop_assert_eq!(name.to_string().parse(), Ok(name));
    }

    #[test]
    fn any_bytes_are_read_or_not(bytes: Vec<u8>, text: String) {
        let _ = (PeerCertificate::read(&bytes), text.parse::<CertificateName>());
    }
}
