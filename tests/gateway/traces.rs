//! Traces: one place in a trace for each request, spans of those that are sampled, and nothing of
//! it that slows a request or tells a secret.

use std::time::{Duration, Instant};

use crate::{
    demo::stand_in::sts,
    support::{
        Gateway, Issuer, Recorder, Settings,
        collector::{Behaviour, Collector, Seized},
        gateway::client,
        outside_sts,
    },
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

struct World {
    issuer: Issuer,
    core: Recorder,
    collector: Collector,
    gateway: Gateway,
}

async fn world(sample: &str, more: &str) -> World {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let collector = Collector::start().await;
    let settings = Settings::new(&issuer.url, core.address)
        .with(&format!("tracing: {{ otlp: '{}', sample: {sample} }}\n{more}", collector.url));
    let gateway = Gateway::start(settings).await;
    World { issuer, core, collector, gateway }
}

impl World {
    async fn get(&self, target: &str, headers: &[(&str, &str)]) -> u16 {
        let mut get = client().get(self.gateway.url(target));
        for (name, value) in headers {
            get = get.header(*name, *value);
        }
        get.send().await.unwrap().status().as_u16()
    }

    /// Version, trace, parent and flags of what the upstream was told last.
    fn told(&self) -> [String; 4] {
        let seen = self.core.take();
        let lines = seen.last().unwrap().header("traceparent");
        assert_eq!(lines.len(), 1, "{lines:?}");
        let parts: Vec<String> = lines[0].split('-').map(str::to_owned).collect();
        parts.try_into().unwrap()
    }
}

fn named<'s>(spans: &'s [Seized], name: &str) -> &'s Seized {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:#?}"))
}

#[tokio::test]
async fn a_sampled_request_is_a_tree_of_spans_that_the_upstream_goes_on_with() {
    let world = world("1.0", "").await;
    let token = world.issuer.token("alice", "admin");
    let bearer = format!("Bearer {token}");
    let parent = format!("00-{TRACE}-{SPAN}-00");
    let headers =
        [("authorization", &*bearer), ("traceparent", &*parent), ("tracestate", "congo=t61")];
    assert_eq!(world.get("/api/credential/v1?secret=hidden", &headers).await, 200);
    let state = world.core.seen()[0].header("tracestate").join("");
    assert_eq!(state, "congo=t61");
    let [version, trace, told, flags] = world.told();
    assert_eq!((&*version, &*trace, &*flags), ("00", TRACE, "01"));
    let spans = world.collector.trace_of("/api/credential/v1").await;
    let request = named(&spans, "GET /api/credential/v1");
    assert_eq!((&*request.parent, request.kind, &*request.trace), (SPAN, 2, TRACE));
    let attributes: Vec<_> =
        request.attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
    let id = request.attributes["portcullis.request_id"].clone();
    assert_eq!(
        attributes,
        [
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("http.route", "/api/credential/v1"),
            ("network.protocol.version", "1.1"),
            ("portcullis.credential", "app"),
            ("portcullis.decision", "forward"),
            ("portcullis.request_id", &id),
            ("portcullis.upstream", "core"),
            ("server.address", "localhost"),
            ("url.path", "/api/credential/v1"),
            ("url.scheme", "http"),
        ]
    );
    for step in ["authentication", "organisation", "policy", "credential"] {
        let step = named(&spans, step);
        assert_eq!((&step.parent, step.kind), (&request.id, 1));
    }
    let upstream = named(&spans, "upstream");
    assert_eq!((&upstream.parent, &upstream.id, upstream.kind), (&request.id, &told, 3));
    assert_eq!(upstream.attributes["server.port"], world.core.address.port().to_string());
    assert_eq!(upstream.attributes["http.response.status_code"], "200");
    assert_eq!(spans.len(), 6, "{spans:#?}");
    for kind in ["access", "audit"] {
        let kind = format!("\"kind\":\"{kind}\"");
        world.gateway.says(&[&kind, &id, &format!("\"trace_id\":\"{TRACE}\"")]).await;
    }
    for (head, body) in world.collector.requests() {
        assert_eq!(head["content-type"], "application/x-protobuf");
        let text = String::from_utf8_lossy(&body).into_owned();
        for secret in ["hidden", &*token, "alice"] {
            assert!(!text.contains(secret), "{secret} in an export");
        }
    }
}

#[tokio::test]
async fn a_refusal_says_where_and_why_and_a_failure_is_one() {
    let world = world("1.0", "").await;
    let bearer = format!("Bearer {}", world.issuer.token("rosa", "reader"));
    let post = client().post(world.gateway.url("/api/credential/v1"));
    assert_eq!(post.header("authorization", bearer).send().await.unwrap().status(), 403);
    let spans = world.collector.trace_of("/api/credential/v1").await;
    assert_eq!(named(&spans, "policy").attributes["portcullis.reason"], "permission_missing");
    let request = named(&spans, "POST /api/credential/v1");
    assert_eq!(request.attributes["portcullis.reason"], "permission_missing");
    assert!(!request.failed, "a refusal is no failure of the server");
    assert!(spans.iter().all(|span| span.name != "upstream"));
    // Nothing of ours, as sent by somebody who wants to be in the way.
    assert_eq!(world.get("/nowhere?secret=hidden", &[]).await, 404);
    let [request] = &world.collector.trace_of("/nowhere").await[..] else { panic!("one span") };
    assert_eq!((&*request.name, request.parent.len()), ("GET", 0));
}

#[tokio::test]
async fn an_exchange_is_a_call_that_the_token_service_can_go_on_with() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let (collector, handle) = (Collector::start().await, sts::Handle::default());
    let service = outside_sts::start(&issuer.url, handle).await;
    let mut settings = Settings::new(&issuer.url, core.address)
        .with(&format!("tracing: {{ otlp: '{}', sample: 1 }}\n", collector.url));
    settings.sts = Some(outside_sts::section(&service, ""));
    let gateway = Gateway::start(settings).await;
    for path in ["/api/credential/v1", "/api/credential/v1/1"] {
        let get = client().get(gateway.url(path)).bearer_auth(issuer.token("alice", "admin"));
        assert_eq!(get.send().await.unwrap().status(), 200);
    }
    let spans = collector.trace_of("/api/credential/v1").await;
    let (credential, exchange) = (named(&spans, "credential"), named(&spans, "exchange"));
    assert_eq!((&exchange.parent, exchange.kind), (&credential.id, 3));
    assert_eq!(exchange.attributes["http.response.status_code"], "200");
    assert_eq!(exchange.attributes["server.address"], "127.0.0.1");
}

#[tokio::test]
async fn without_a_sample_there_are_ids_and_nothing_more() {
    let world = world("0", "").await;
    let parent = format!("00-{TRACE}-{SPAN}-01");
    assert_eq!(world.get("/ssi/x", &[("traceparent", &parent)]).await, 200);
    let [_, trace, told, flags] = world.told();
    assert_eq!((&*trace, &*flags), (TRACE, "00"), "nobody outside has anything recorded");
    assert_ne!(told, SPAN, "the upstream's parent is ours");
    world.gateway.says(&["\"kind\":\"access\"", &format!("\"trace_id\":\"{TRACE}\"")]).await;
    // What is not well-formed begins a trace, and its state is nobody's.
    let wrong = [("traceparent", "00-0-0-01"), ("tracestate", "congo=t61")];
    assert_eq!(world.get("/ssi/x", &wrong).await, 200);
    assert!(world.core.seen()[0].header("tracestate").is_empty());
    assert_ne!(world.told()[1], TRACE);
    assert!(world.collector.requests().is_empty());
    let metrics = world.gateway.metrics().await;
    assert!(metrics.contains("portcullis_trace_spans_total{outcome=\"exported\"} 0"), "{metrics}");
}

#[tokio::test]
async fn a_trusted_proxy_decides_what_is_sampled() {
    let world = world("0", "trusted_proxies: [127.0.0.0/8]\n").await;
    let parent = format!("00-{TRACE}-{SPAN}-01");
    assert_eq!(world.get("/ssi/sampled", &[("traceparent", &parent)]).await, 200);
    assert_eq!(world.told()[3], "01");
    world.collector.trace_of("/ssi/sampled").await;
}

#[tokio::test]
async fn with_tracing_off_a_trace_passes_as_if_there_were_no_gateway() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let gateway = Gateway::start(Settings::new(&issuer.url, core.address)).await;
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let get = client().get(gateway.url("/ssi/x")).header("traceparent", &parent);
    assert_eq!(get.header("tracestate", "congo=t61").send().await.unwrap().status(), 200);
    let get = client().get(gateway.url("/ssi/x")).header("traceparent", "nonsense");
    assert_eq!(get.header("tracestate", "congo=t61").send().await.unwrap().status(), 200);
    let [good, wrong] = &core.seen()[..] else { panic!("two requests") };
    assert_eq!(good.header("traceparent"), [parent]);
    assert_eq!(good.header("tracestate"), ["congo=t61"]);
    assert!(wrong.header("traceparent")[0].ends_with("-00"));
    assert!(wrong.header("tracestate").is_empty());
    assert!(!gateway.output().contains("trace_id"));
}

/// Each fault of the collector: requests are answered all the same, and what is lost is counted.
#[tokio::test]
async fn a_collector_in_trouble_is_no_trouble_for_requests() {
    let world = world("1", "").await;
    for behaviour in [
        Behaviour::Slow(Duration::from_secs(30)),
        Behaviour::Fails(400),
        Behaviour::Fails(503),
        Behaviour::Chatters(1 << 20),
    ] {
        world.collector.behave(behaviour);
        let before = world.collector.asked();
        for _ in 0..20 {
            assert_eq!(world.get("/ssi/x", &[]).await, 200);
        }
        if !matches!(behaviour, Behaviour::Slow(_)) {
            let deadline = Instant::now() + Duration::from_secs(30);
            while world.collector.asked() == before {
                assert!(Instant::now() < deadline, "{behaviour:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    world.gateway.says(&["traces do not arrive at the collector"]).await;
    // The refused batch was given up at once, and the queue has moved on since.
    world.collector.behave(Behaviour::Takes);
    assert_eq!(world.get("/ssi/last", &[]).await, 200);
    world.collector.trace_of("/ssi/last").await;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let metrics = world.gateway.metrics().await;
        let count = |outcome: &str| -> u64 {
            let line = format!("portcullis_trace_spans_total{{outcome=\"{outcome}\"}} ");
            let value = metrics.lines().find_map(|found| found.strip_prefix(&line));
            value.unwrap().parse().unwrap()
        };
        if count("failed") > 0 && count("exported") > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{metrics}");
    }
}

#[tokio::test]
async fn what_is_queued_at_the_end_is_sent_and_nobody_waits_long_for_a_collector_that_is_gone() {
    let mut world = world("1", "").await;
    assert_eq!(world.get("/ssi/last", &[]).await, 200);
    world.gateway.signal("TERM");
    assert!(world.gateway.ended().await.success());
    let spans = world.collector.spans();
    assert!(spans.iter().any(|span| span.attributes.contains_key("url.path")), "{spans:?}");

    let mut world = self::world("1", "").await;
    world.collector.behave(Behaviour::Slow(Duration::from_secs(60)));
    assert_eq!(world.get("/ssi/last", &[]).await, 200);
    world.gateway.signal("TERM");
    // Bounded by itself: the support code would wait for half a minute.
    assert!(world.gateway.ended().await.success());
}

#[tokio::test]
async fn another_share_is_taken_over_by_a_reload_and_a_header_is_shown_to_the_collector() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let collector = Collector::start().await;
    let tracing = |sample: &str| {
        format!(
            "tracing: {{ otlp: '{}/v1/traces', sample: {sample}, service: edge, \
             headers: {{ x-key: {{ env: TEST_CLIENT_SECRET }} }} }}\n",
            collector.url
        )
    };
    let settings = Settings::new(&issuer.url, core.address).with(&tracing("0"));
    let gateway = Gateway::start(settings).await;
    assert_eq!(client().get(gateway.url("/ssi/a")).send().await.unwrap().status(), 200);
    let text = std::fs::read_to_string(gateway.file()).unwrap();
    std::fs::write(gateway.file(), text.replace(&tracing("0"), &tracing("1"))).unwrap();
    gateway.signal("HUP");
    gateway.says(&["read the configuration again on SIGHUP", "are at work"]).await;
    assert_eq!(client().get(gateway.url("/ssi/b")).send().await.unwrap().status(), 200);
    collector.trace_of("/ssi/b").await;
    let of_a = |span: &Seized| span.attributes.get("url.path").is_some_and(|it| it == "/ssi/a");
    assert!(!collector.spans().iter().any(of_a));
    let (head, body) = &collector.requests()[0];
    assert_eq!(head["x-key"], "client-secret-of-the-test");
    assert!(String::from_utf8_lossy(body).contains("edge"));
    assert!(!gateway.output().contains("client-secret-of-the-test"));
}
