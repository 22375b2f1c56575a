use secrecy::ExposeSecret;

use super::*;

fn hosts(hosts: &[(&str, u16)]) -> Vec<(String, u16)> {
    hosts.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect()
}

#[test]
fn one_server() {
    let url = RedisUrl::parse("redis://127.0.0.1").unwrap();
    assert_eq!(url.topology, Topology::Single);
    assert_eq!((url.tls, url.database), (false, 0));
    assert_eq!(url.hosts, hosts(&[("127.0.0.1", 6_379)]));
    assert!(url.username.is_none() && url.password.is_none() && url.is_local());

    let url = RedisUrl::parse("rediss://desk:p%40ss%3Aword@redis.example.com:7000/3").unwrap();
    assert_eq!((url.tls, url.database, url.is_local()), (true, 3, false));
    assert_eq!(url.username.as_deref(), Some("desk"));
    assert_eq!(url.password.unwrap().expose_secret(), "p@ss:word");
    assert_eq!(url.hosts, hosts(&[("redis.example.com", 7_000)]));

    let url = RedisUrl::parse("redis://:secret@[::1]:7000").unwrap();
    assert!(url.username.is_none() && url.password.is_some() && url.is_local());
    assert_eq!(url.hosts, hosts(&[("::1", 7_000)]));
}

#[test]
fn sentinels_and_clusters() {
    let url = RedisUrl::parse("redis+sentinel://:pw@one,two:26380/desk/2").unwrap();
    assert_eq!(url.topology, Topology::Sentinel { service: "desk".to_owned() });
    assert_eq!(url.hosts, hosts(&[("one", 26_379), ("two", 26_380)]));
    assert_eq!(url.database, 2);

    let url = RedisUrl::parse("rediss+cluster://one:7001,two").unwrap();
    assert_eq!((url.topology, url.tls), (Topology::Cluster, true));
    assert_eq!(url.hosts, hosts(&[("one", 7_001), ("two", 6_379)]));
}

#[test]
fn what_cannot_be_read_for_certain_is_refused_and_never_quoted() {
    use RedisUrlError::*;
    for (text, error) in [
        ("", Scheme),
        ("localhost:6379", Scheme),
        ("http://localhost", Scheme),
        ("redis+ring://localhost", Scheme),
        ("redis://", Host),
        ("redis://localhost:0", Host),
        ("redis://localhost:65536", Host),
        ("redis://local host", Host),
        ("redis://[::1", Host),
        ("redis+cluster://one,,two", Host),
        ("redis://one,two", SeveralHosts),
        ("redis://hunter2@localhost", Credentials),
        ("redis://user:@localhost", Credentials),
        ("redis://:%FF@localhost", Credentials),
        ("redis://localhost?db=hunter2", Query),
        ("redis://:hunter#2@localhost", Query),
        ("redis://localhost/x", Path),
        ("redis://localhost/-1", Path),
        ("redis+sentinel://localhost", Path),
        ("redis+sentinel://localhost/desk/x", Path),
        ("redis+cluster://localhost/1", Path),
    ] {
        let refused = RedisUrl::parse(text).unwrap_err();
        assert_eq!(refused, error, "{text}");
        assert!(!refused.to_string().contains("hunter"), "{refused}");
    }
    let url = RedisUrl::parse("redis://:hunter2@localhost").unwrap();
    assert!(!format!("{url:?}").contains("hunter2"));
}
