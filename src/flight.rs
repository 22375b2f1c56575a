//! One flight: whoever asks for a key while it is being fetched waits for that one result.
//!
//! Only bookkeeping. Who leads runs the flight in a task of its own, so that a waiter who leaves
//! takes nothing down; keys never wait for each other.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// The flights under way.
pub(crate) struct Flights<K, T> {
    airborne: Mutex<HashMap<K, watch::Receiver<Option<T>>>>,
}

impl<K: Copy + Eq + Hash, T: Clone> Flights<K, T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { airborne: Mutex::new(HashMap::new()) })
    }

    /// A seat in the key's flight, and the flight itself for the one who has to fly it.
    pub(crate) fn board(self: &Arc<Self>, key: K) -> (Seat<T>, Option<Flight<K, T>>) {
        let mut airborne = self.airborne();
        if let Some(result) = airborne.get(&key) {
            return (Seat(result.clone()), None);
        }
        let (result, seat) = watch::channel(None);
        airborne.insert(key, seat.clone());
        (Seat(seat), Some(Flight { flights: Arc::clone(self), key, result }))
    }

    /// No code that can panic runs under the lock, so the map is whole even if it is poisoned.
    fn airborne(&self) -> MutexGuard<'_, HashMap<K, watch::Receiver<Option<T>>>> {
        self.airborne.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those who wait.
pub(crate) struct Seat<T>(watch::Receiver<Option<T>>);

impl<T: Clone> Seat<T> {
    /// The result; `None` when the flight ended without one, as when its task panicked.
    pub(crate) async fn landed(mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|result| result.clone())
    }
}

/// The duty to land. Dropped, it makes room for the next flight with the same key.
pub(crate) struct Flight<K: Copy + Eq + Hash, T: Clone> {
    flights: Arc<Flights<K, T>>,
    key: K,
    result: watch::Sender<Option<T>>,
}

impl<K: Copy + Eq + Hash, T: Clone> Flight<K, T> {
    /// Gives the result to everybody on board. Whoever comes from now on has to find it where it
    /// is kept, so it has to be there before.
    pub(crate) fn land(self, result: T) {
        self.result.send_replace(Some(result));
    }
}

impl<K: Copy + Eq + Hash, T: Clone> Drop for Flight<K, T> {
    fn drop(&mut self) {
        self.flights.airborne().remove(&self.key);
    }
}
