//! What Pingora by itself costs: the listener, the runtime and the upstream's time-outs of the
//! gateway, and nothing of what it checks. Benchmarks put the gateway beside it.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use pingora::{
    Result,
    apps::HttpServerOptions,
    listeners::ListenerConfig,
    modules::http::HttpModules,
    protocols::l4::stream::L4BufferSettings,
    server::{Server, configuration::ServerConf},
    services::listening::Service,
    upstreams::peer::HttpPeer,
};
use pingora_proxy::{ProxyHttp, Session, http_proxy};

/// Forwards everything to one server.
struct Bare {
    peer: HttpPeer,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    /// As the gateway: the default module would cost every request.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(self.peer.clone()))
    }
}

/// Serves until the process ends. As `portcullis::listener::serve` sets Pingora up.
pub(crate) fn serve(listen: SocketAddr, upstream: SocketAddr, threads: usize) {
    let conf = ServerConf { threads, upstream_keepalive_pool_size: 512, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();

    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.keepalive_request_limit = Some(10_000);
    options.h2_idle_timeout = Some(Duration::from_mins(2));
    let mut proxy = http_proxy(&server.configuration, Bare { peer: peer(upstream) });
    proxy.server_options = Some(options);
    let mut service = Service::new("bare".to_owned(), proxy);
    service.add_listener(
        ListenerConfig::tcp(listen.to_string())
            .l4_buffer(L4BufferSettings::default().read(8 * 1024)),
    );
    server.add_service(service);
    server.run_forever();
}

/// The time-outs are the defaults of `upstreams.NAME`: each is a timer of every request.
fn peer(upstream: SocketAddr) -> HttpPeer {
    let mut peer = HttpPeer::new(upstream, false, String::new());
    peer.options.connection_timeout = Some(Duration::from_secs(2));
    peer.options.total_connection_timeout = Some(Duration::from_secs(2));
    peer.options.read_timeout = Some(Duration::from_mins(1));
    peer.options.write_timeout = Some(Duration::from_mins(1));
    peer.options.idle_timeout = Some(Duration::from_mins(1));
    peer
}
