//! Services whose listening sockets are known, and may be given beforehand.

use std::{
    future::poll_fn,
    os::fd::RawFd,
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc::Sender},
};

use async_trait::async_trait;
use pingora::{
    apps::ServerApp,
    server::{ListenFds, ShutdownWatch},
    services::{Service as ServiceTrait, listening::Service},
};

/// The listening sockets of this process.
#[derive(Clone, Default)]
pub(in crate::listener) struct Sockets(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Pingora's own, in which services look before they open one.
    table: OnceLock<ListenFds>,
    /// What is to be put there first.
    given: Mutex<Vec<(String, RawFd)>>,
}

impl Sockets {
    /// These were given to us.
    pub(in crate::listener) fn give(&self, sockets: Vec<(String, RawFd)>) {
        *self.0.given.lock().unwrap_or_else(PoisonError::into_inner) = sockets;
    }

    /// Those that are open, with their addresses.
    pub(super) fn open(&self) -> Vec<(String, RawFd)> {
        let Some(table) = self.0.table.get() else { return Vec::new() };
        let (addresses, sockets) = table.lock().serialize();
        addresses.into_iter().zip(sockets).collect()
    }

    /// Puts what was given into the table, before anybody looks there.
    fn fill(&self, table: &ListenFds) {
        let mut given = self.0.given.lock().unwrap_or_else(PoisonError::into_inner);
        for (address, socket) in given.drain(..) {
            table.lock().add(address, socket);
        }
        // All services have the same one.
        let _ = self.0.table.set(Arc::clone(table));
    }
}

/// A service that says when its listeners are open.
pub(in crate::listener) struct Opening<A> {
    service: Service<A>,
    sockets: Sockets,
    opened: Sender<()>,
}

impl<A> Opening<A> {
    pub(in crate::listener) const fn new(
        service: Service<A>,
        sockets: Sockets,
        opened: Sender<()>,
    ) -> Self {
        Self { service, sockets, opened }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServiceTrait for Opening<A> {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        shutdown: ShutdownWatch,
        listeners_per_fd: usize,
    ) {
        if let Some(table) = &fds {
            self.sockets.fill(table);
        }
        let mut opened = Some(self.opened.clone());
        let mut serving = self.service.start_service(fds, shutdown, listeners_per_fd);
        poll_fn(move |cx| {
            let polled = serving.as_mut().poll(cx);
            // It waits for nothing before it has opened them, and for its end afterwards.
            if polled.is_pending()
                && let Some(opened) = opened.take()
            {
                // Nobody listens where nobody is to take over.
                let _ = opened.send(());
            }
            polled
        })
        .await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        ServiceTrait::threads(&self.service)
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        self.service.listen_addresses()
    }
}
