use proptest::prelude::*;

use super::*;

#[test]
fn sizes() {
    for (text, bytes) in [
        ("0", 0),
        ("512", 512),
        ("8B", 8),
        ("32KiB", 32_768),
        ("10MiB", 10 << 20),
        ("1GB", 1_000_000_000),
    ] {
        assert_eq!(ByteSize::parse(text).map(ByteSize::bytes), Some(bytes), "{text}");
    }
    for wrong in ["", "KiB", "-1", "1.5MiB", "1 KiB", "1kib", "18446744073709551615KiB", "1TiB"] {
        assert_eq!(ByteSize::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn origins() {
    for (text, written, host, https) in [
        ("https://desk.example.com", "https://desk.example.com", "desk.example.com", true),
        ("https://Desk.Example.com:443/", "https://desk.example.com", "desk.example.com", true),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1", false),
        ("http://[::1]:8080", "http://[::1]:8080", "[::1]", false),
    ] {
        let origin = Origin::parse(text).unwrap();
        assert_eq!((origin.as_str(), origin.host()), (written, host));
        assert_eq!(origin.is_https(), https);
    }
    for wrong in [
        "desk.example.com",
        "https://",
        "ftp://a.example",
        "https://a.example/x",
        "https://a.example/?q",
        "https://a.example/#f",
        "https://u@a.example",
        "https://a.example.",
    ] {
        assert_eq!(Origin::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn host_names() {
    for good in
        ["a", "desk.example.com", "10.0.0.7", "[::1]", "core_1.internal", "xn--bcher-kva.example"]
    {
        assert!(HostName::parse(good).is_some(), "{good}");
    }
    for wrong in [
        "", "A", "a.", ".a", "a..b", "-a", "a-", "a:80", "::1", "[::1]:80", "[0::1]", "1.2.3",
        "a/b", "ä",
    ] {
        assert_eq!(HostName::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn server_addresses() {
    let v6 = ServerAddress::parse("[::1]:3000").unwrap();
    assert_eq!((v6.host.as_str(), v6.port, v6.to_string().as_str()), ("::1", 3000, "[::1]:3000"));
    for (text, local) in [
        ("[::1]:1", true),
        ("127.8.8.8:1", true),
        ("localhost:1", true),
        ("[::ffff:127.0.0.1]:1", true),
        ("core:1", false),
        ("10.0.0.1:1", false),
        ("localhost.example.com:1", false),
    ] {
        assert_eq!(ServerAddress::parse(text).unwrap().is_loopback(), local, "{text}");
    }
    for wrong in
        ["", "core", "core:", "core:0", "core:+1", "core:65536", "::1:80", ":80", "http://a:1"]
    {
        assert_eq!(ServerAddress::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn pointers_and_tokens() {
    assert!(is_pointer("/realm_access/roles") && is_pointer("/a~1b/~0"));
    assert!(!is_pointer("") && !is_pointer("roles") && !is_pointer("/a~2") && !is_pointer("/a~"));
    assert!(is_token("portcullis") && !is_token("") && !is_token("a b") && !is_token("a=b"));
}

#[test]
fn a_secret_does_not_print() {
    let secret = Secret::from("hush".to_owned());
    assert_eq!(secret.expose(), "hush");
    assert!(!format!("{secret:?}").contains("hush"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
        let _ = (ByteSize::parse(&text), Origin::parse(&text), ServerAddress::parse(&text));
        if let Some(host) = HostName::parse(&text) {
            prop_assert_eq!(host.as_str(), text.as_str());
        }
    }

    #[test]
    fn a_server_address_reads_as_it_is_written(text in "(\\[[0-9a-f:]{2,8}\\]|[a-z.]{1,8}):[0-9]{1,5}") {
        if let Some(address) = ServerAddress::parse(&text) {
            prop_assert_eq!(ServerAddress::parse(&address.to_string()), Some(address));
        }
    }
}
