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
    ///
    /// The key is free before anybody hears of the result: who has heard of it and comes again,
    /// to find it over or to have it evicted, must not be given the same one by this flight.
    pub(crate) fn land(self, result: T) {
        let told = self.result.clone();
        drop(self);
        told.send_replace(Some(result));
    }
}

impl<K: Copy + Eq + Hash, T: Clone> Drop for Flight<K, T> {
    fn drop(&mut self) {
        self.flights.airborne().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Wake, Waker},
    };

    use super::*;

    /// Boards again the very moment it hears of a landing.
    struct Again {
        flights: Arc<Flights<u8, &'static str>>,
        flight: Mutex<Option<Flight<u8, &'static str>>>,
    }

    impl Wake for Again {
        fn wake(self: Arc<Self>) {
            let (_seat, flight) = self.flights.board(1);
            *self.flight.lock().unwrap() = flight;
        }
    }

    #[test]
    fn who_has_heard_of_a_landing_starts_a_new_flight() {
        let flights = Flights::new();
        let (seat, first) = flights.board(1);
        let again = Arc::new(Again { flights: Arc::clone(&flights), flight: Mutex::new(None) });
        let waker = Waker::from(Arc::clone(&again));
        let mut context = Context::from_waker(&waker);
        let mut landed = pin!(seat.landed());
        assert_eq!(landed.as_mut().poll(&mut context), Poll::Pending);
        first.unwrap().land("old");
        let second = again.flight.lock().unwrap().take().expect("a new flight");
        assert_eq!(landed.poll(&mut context), Poll::Ready(Some("old")));
        // The first one took nothing of the second one with it.
        let (seat, third) = flights.board(1);
        assert!(third.is_none());
        second.land("new");
        assert_eq!(pin!(seat.landed()).poll(&mut context), Poll::Ready(Some("new")));
    }

    #[test]
    fn a_flight_that_crashes_makes_room_and_is_heard_of() {
        let flights = Flights::<u8, ()>::new();
        let (seat, flight) = flights.board(1);
        drop(flight);
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(pin!(seat.landed()).poll(&mut context), Poll::Ready(None));
        assert!(flights.board(1).1.is_some());
    }
}
