//! How many connections each client address holds (`limits.connections_per_client`).

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use ipnet::IpNet;

/// The connections that are open, by address. It holds an entry for each address that is
/// connected now, and none else.
pub struct Crowd {
    most: usize,
    exempt: Box<[IpNet]>,
    shards: Box<[Mutex<HashMap<IpAddr, usize>>]>,
    by: RandomState,
    open: AtomicUsize,
}

/// One connection's place; given back when dropped.
pub struct Place {
    crowd: Arc<Crowd>,
    of: Option<IpAddr>,
}

impl Crowd {
    /// At most `most` connections of one address. The `exempt` are proxies of ours, behind whose
    /// address are many clients.
    #[must_use]
    pub fn new(most: usize, exempt: &[IpNet]) -> Self {
        Self {
            most,
            exempt: exempt.into(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            by: RandomState::new(),
            open: AtomicUsize::new(0),
        }
    }

    /// A place for one more connection of `address`; `None` when it has all that it may have.
    #[must_use]
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        if self.exempt.iter().any(|network| network.contains(&address)) {
            return Some(self.place(None));
        }
        let of = counted_as(address);
        let mut shard = self.shard(of)?.lock().unwrap_or_else(PoisonError::into_inner);
        let held = shard.entry(of).or_default();
        if *held >= self.most {
            return None;
        }
        *held += 1;
        drop(shard);
        Some(self.place(Some(of)))
    }

    fn place(self: &Arc<Self>, of: Option<IpAddr>) -> Place {
        self.open.fetch_add(1, Ordering::Relaxed);
        Place { crowd: Arc::clone(self), of }
    }

    /// How many connections there are, from before a TLS handshake.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn shard(&self, of: IpAddr) -> Option<&Mutex<HashMap<IpAddr, usize>>> {
        let hash = usize::try_from(self.by.hash_one(of) % SHARDS as u64).ok()?;
        self.shards.get(hash)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.open.fetch_sub(1, Ordering::Relaxed);
        let Some(of) = self.of else { return };
        let Some(shard) = self.crowd.shard(of) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = shard.get_mut(&of) {
            *held -= 1;
            if *held == 0 {
                shard.remove(&of);
            }
        }
    }
}

/// IPv6 gives one host a network of 64 bits to choose its address from.
fn counted_as(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (!0 << 64))),
    }
}

const SHARDS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let crowd = Arc::new(Crowd::new(2, &[]));
        let first = crowd.enter(ip("192.0.2.1")).unwrap();
        let _second = crowd.enter(ip("::ffff:192.0.2.1")).unwrap();
        assert!(crowd.enter(ip("192.0.2.1")).is_none());
        assert!(crowd.enter(ip("192.0.2.2")).is_some());
        drop(first);
        assert!(crowd.enter(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn nothing_is_kept_of_who_has_left() {
        let crowd = Arc::new(Crowd::new(2, &[]));
        drop(crowd.enter(ip("192.0.2.1")));
        assert!(crowd.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn one_ipv6_network_is_one_client() {
        let crowd = Arc::new(Crowd::new(1, &[]));
        let _held = crowd.enter(ip("2001:db8::1")).unwrap();
        assert!(crowd.enter(ip("2001:db8::2")).is_none());
        assert!(crowd.enter(ip("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn a_proxy_of_ours_stands_for_many() {
        let crowd = Arc::new(Crowd::new(1, &["10.0.0.0/8".parse().unwrap()]));
        let held: Vec<_> = (0..10).map(|_| crowd.enter(ip("10.1.2.3"))).collect();
        assert!(held.iter().all(Option::is_some));
    }
}
