//! The servers behind the gateway.

use std::{path::PathBuf, time::Duration};

use url::Url;

use crate::config::{
    read::{choice, section},
    types::{Audience, ByteSize, Secret, ServerAddress},
};

section! {
    /// A set of servers that answer alike.
    pub struct Upstream {
        /// host:port each; names are resolved again in the background.
        servers: Vec<ServerAddress>,
        /// TLS towards the servers.
        tls: Option<UpstreamTls> = "null",
        /// Say so for plain HTTP to an address that is not loopback.
        plaintext: bool = "false",
        /// The version of HTTP that is spoken to the servers: http2 for gRPC, over TLS by ALPN, without it by prior knowledge.
        protocol: Protocol = "http1",
        /// What the upstream demands of a request.
        auth: UpstreamAuth,
        /// How a server is chosen: in turn, the one with the fewest requests in flight, or by session.
        balance: Balance = "round_robin",
        /// Active health checks; null: none.
        health: Option<Health> = "null",
        /// The upstream's own OpenAPI document, with which the routes are compared while it runs; null: they are not.
        openapi: Option<OpenApi> = "null",
        /// How long each step may take.
        timeouts: Timeouts = "{}",
        /// Further tries, where it is safe.
        retries: usize = "1",
        /// Bounds all further tries together; null: only `retries` does.
        retry_budget: Option<RetryBudget> = "{}",
        /// Leaves out servers that fail requests; null: none is, but by its health check.
        ejection: Option<Ejection> = "{}",
        /// A server that is new or comes back gets a tenth of its share, and more from there to all of it in this time; 0s: all at once.
        slow_start: Duration = "10s",
        /// What one server may get at once.
        connections: Connections = "{}",
        /// false: every route to it only records what would have been refused.
        enforce: bool = "true",
    }
}

choice! {
    /// A version of HTTP.
    pub enum Protocol { Http1 = "http1", Http2 = "http2" }
}

section! {
    /// TLS towards an upstream.
    pub struct UpstreamTls {
        /// Name in the certificate, sent as SNI.
        server_name: String,
        /// PEM bundle for a private CA.
        ca: Option<PathBuf> = "null",
        /// PEM chain with which the gateway introduces itself.
        client_certificate: Option<PathBuf> = "null",
        /// Its private key.
        client_key: Option<PathBuf> = "null",
    }
}

section! {
    /// Active health checks.
    pub struct Health {
        /// GET this path; any 2xx is healthy.
        path: String,
        /// Time between checks.
        interval: Duration = "5s",
        /// One check may take this long.
        timeout: Duration = "1s",
        /// Good checks until a server counts as healthy.
        healthy: usize = "1",
        /// Bad checks until it does not.
        unhealthy: usize = "3",
    }
}

section! {
    /// A bound on further tries, over the last ten seconds.
    pub struct RetryBudget {
        /// As many as this share of the requests, in hundredths, 0 to 100.
        percent: usize = "20",
        /// And as many for each second, however few requests there are.
        min_per_second: usize = "3",
    }
}

section! {
    /// Servers that fail requests in a row get none for a while. A failure is no connection, no answer in time, a connection that ends before the answer, and 502, 503 and 504. A server that cannot be connected to is left out until the gateway can, which it tries twice a second.
    pub struct Ejection {
        /// Failures in a row.
        failures: usize = "5",
        /// For how long the first time; twice that the second time, and so on.
        time: Duration = "10s",
        /// The longest.
        max_time: Duration = "5m",
        /// Servers left out at once, in hundredths of all, 0 to 100; never the last one. Only servers that cannot be connected to are left out beyond it.
        max_percent: usize = "50",
    }
}

section! {
    /// Bounds on what one server gets.
    pub struct Connections {
        /// Requests in flight to one server, each of which has a connection of its own; a full one is passed over, and when all are full the answer is 503 at once. null: no bound.
        per_server: Option<usize> = "null",
    }
}

section! {
    /// An upstream's own OpenAPI document. Where routes and document part is told in log and metrics; no route changes by it.
    pub struct OpenApi {
        /// Where the running upstream hands it out; redirects are not followed.
        url: Url,
        /// Longest time between two comparisons.
        interval: Duration = "10m",
        /// One reading may take this long.
        timeout: Duration = "20s",
        /// Largest document, at most 4MiB.
        size: ByteSize = "1MiB",
        /// PEM bundle for a private CA. Default: that of the upstream's tls.
        ca: Option<PathBuf> = "null",
    }
}

section! {
    /// How long each step towards an upstream may take.
    pub struct Timeouts {
        /// TCP and TLS together.
        connect: Duration = "2s",
        /// Between two reads.
        read: Duration = "60s",
        /// Between two writes.
        write: Duration = "60s",
        /// An idle connection is kept this long.
        idle: Duration = "60s",
    }
}

/// What the upstream demands of a request; tagged by `mode`.
#[derive(Clone, Debug)]
pub enum UpstreamAuth {
    /// `STS`: an app token for this audience.
    Sts {
        /// `aud` of the app token.
        audience: Audience,
    },
    /// `IAM`: the caller's IAM token (BFF).
    Iam,
    /// `NONE`: no credential, public routes only.
    None,
    /// `UNSAFE_NONE`: the upstream checks nothing.
    UnsafeNone,
    /// `UNSAFE_STATIC`: one static token for everybody.
    UnsafeStatic {
        /// The token.
        static_token: Secret,
    },
    /// `EXTENSION`: what a credential source gets that the program was built with.
    Extension {
        /// Its name.
        source: String,
    },
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// `round_robin`.
    RoundRobin,
    /// `least_requests`.
    LeastRequests,
    /// `{ hash: cookie }`: one session, one server; one caller or one address without.
    HashCookie,
}
