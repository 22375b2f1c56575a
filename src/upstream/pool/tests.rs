use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const NOW: Moment = Moment(1_000_000);
const SECOND: Duration = Duration::from_secs(1);

fn rules(balance: Balance) -> Rules {
    Rules {
        balance,
        health: Some(Thresholds { healthy: 1, unhealthy: 3 }),
        ejection: Some(Ejection {
            failures: 3,
            time: 10 * SECOND,
            max_time: 60 * SECOND,
            max_percent: 50,
        }),
        slow_start: 10 * SECOND,
        per_server: None,
        budget: None,
    }
}

fn address(number: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], number))
}

fn pool_by(rules: Rules, count: u16) -> Pool {
    let pool = Pool::new(rules, None);
    pool.set((1..=count).map(address), NOW);
    pool
}

fn pool(balance: Balance, count: u16) -> Pool {
    pool_by(rules(balance), count)
}

/// The port of the server that is chosen.
fn chosen(pool: &Pool, now: Moment, key: Option<u64>) -> Option<u16> {
    Some(pool.choose(now, key, &Tried::default()).ok()?.server().address().port())
}

/// How often each is chosen.
fn shares(pool: &Pool, now: Moment, times: usize) -> HashMap<u16, usize> {
    let mut shares = HashMap::new();
    for _ in 0..times {
        *shares.entry(chosen(pool, now, None).unwrap()).or_default() += 1;
    }
    shares
}

fn server(pool: &Pool, number: u16) -> Arc<Server> {
    let servers = pool.servers();
    Arc::clone(servers.iter().find(|it| it.address() == address(number)).unwrap())
}

fn fails(
    pool: &Pool,
    number: u16,
    failure: Failure,
    times: u32,
    now: Moment,
) -> Option<Consequence> {
    (0..times).filter_map(|_| pool.failed(&server(pool, number), failure, now)).last()
}

fn goes_down(pool: &Pool, number: u16) {
    assert_eq!(pool.checked(address(number), false, NOW), Some(false), "the first check decides");
}

#[test]
fn each_in_turn_and_those_that_are_left_alike() {
    for count in [1, 2, 3, 5] {
        let pool = pool(Balance::RoundRobin, count);
        let shares = shares(&pool, NOW, usize::from(count) * 40);
        assert!(shares.len() == usize::from(count) && shares.values().all(|it| *it == 40));
    }
    // The neighbour of one that is gone does not get twice as much.
    let pool = pool(Balance::RoundRobin, 4);
    goes_down(&pool, 2);
    let shares = shares(&pool, NOW, 300);
    assert!(shares.len() == 3 && shares.values().all(|it| *it == 100), "{shares:?}");
}

#[test]
fn the_one_with_the_fewest_requests() {
    for count in [2, 3, 8] {
        let pool = pool(Balance::LeastRequests, count);
        let held: Vec<_> =
            (1..count).map(|_| pool.choose(NOW, None, &Tried::default()).unwrap()).collect();
        let busy: Vec<_> = held.iter().map(|it| it.server().address()).collect();
        let free = (1..=count).map(address).find(|it| !busy.contains(it)).unwrap();
        for _ in 0..20 {
            assert_eq!(chosen(&pool, NOW, None), Some(free.port()), "of {count}");
        }
        drop(held);
        assert_eq!(shares(&pool, NOW, 80).len(), usize::from(count), "equal ones in turn");
    }
}

#[test]
fn of_many_the_better_of_two() {
    let pool = pool(Balance::LeastRequests, 40);
    let held: Vec<_> =
        (0..400).map(|_| pool.choose(NOW, None, &Tried::default()).unwrap()).collect();
    let most = pool.servers().iter().map(|it| it.in_flight()).max().unwrap();
    // With one at random, some server would have twenty.
    assert!(most <= 14, "{most} of {}", held.len());
}

#[test]
fn a_server_that_was_tried_is_not_chosen_again() {
    for balance in [Balance::RoundRobin, Balance::LeastRequests, Balance::Hash] {
        let pool = pool(balance, 2);
        let mut tried = Tried::default();
        let first = pool.choose(NOW, Some(7), &tried).unwrap();
        tried.add(first.server(), false);
        assert!(pool.has_another(NOW, &tried));
        let other = pool.choose(NOW, Some(7), &tried).unwrap();
        assert_ne!(first.server().address(), other.server().address());
        tried.add(other.server(), true);
        assert!(pool.has_another(NOW, &tried), "one that may be had again");
        let again = pool.choose(NOW, Some(7), &tried).unwrap();
        assert_eq!(again.server().address(), other.server().address());
        let mut tried = Tried::default();
        for it in [&first, &other] {
            tried.add(it.server(), false);
        }
        assert!(!pool.has_another(NOW, &tried) && pool.choose(NOW, Some(7), &tried).is_err());
    }
}

/// With one of two that fails, half of the requests meet it, and not each that follows a retry.
#[test]
fn a_further_try_takes_nobodys_turn() {
    let pool = pool(Balance::RoundRobin, 2);
    let met = (0..40).filter(|_| {
        let first = pool.choose(NOW, None, &Tried::default()).unwrap();
        let fails = first.server().address() == address(1);
        if fails {
            let mut tried = Tried::default();
            tried.add(first.server(), false);
            assert_eq!(pool.choose(NOW, None, &tried).unwrap().server().address(), address(2));
        }
        fails
    });
    assert_eq!(met.count(), 20);
}

#[test]
fn health_checks_turn_a_server_off_and_on() {
    let pool = pool(Balance::RoundRobin, 2);
    assert_eq!(pool.checked(address(1), true, NOW), None);
    for (passed, tells) in [
        (false, None),
        (false, None),
        (true, None),
        (false, None),
        (false, None),
        (false, Some(false)),
    ] {
        assert_eq!(pool.checked(address(1), passed, NOW), tells);
    }
    assert_eq!(shares(&pool, NOW, 10), HashMap::from([(2, 10)]));
    goes_down(&pool, 2);
    let none = pool.choose(NOW, None, &Tried::default()).err();
    assert_eq!(none, Some(Unavailable::Unwell(None)));
    assert_eq!(pool.checked(address(2), true, NOW), Some(true));
    assert_eq!(chosen(&pool, NOW, None), Some(2));
    assert_eq!(pool.checked(address(9), false, NOW), None, "nobody's");
}

#[test]
fn a_server_that_comes_gets_its_share_bit_by_bit() {
    for balance in [Balance::RoundRobin, Balance::LeastRequests] {
        let pool = pool(balance, 1);
        pool.set([1, 2].map(address), NOW);
        let mut before = 0;
        for (seconds, least, most) in [(0, 10, 150), (5, 180, 340), (10, 450, 550), (99, 450, 550)]
        {
            // Something is in flight everywhere, so that the fewest requests are not the question.
            let now = NOW + SECOND * seconds;
            let held: Vec<_> = (0..10).map(|_| pool.choose(now, None, &Tried::default())).collect();
            if balance == Balance::RoundRobin {
                let got = *shares(&pool, now, 1000).get(&2).unwrap();
                assert!((least..=most).contains(&got) && got + 20 >= before, "{seconds}s: {got}");
                before = got;
            } else {
                let has = server(&pool, 2).in_flight();
                assert!(has <= 5 && (seconds < 10 || has == 5), "{seconds}s: {has}");
            }
            drop(held);
        }
    }
}

#[test]
fn failures_in_a_row_eject_longer_each_time() {
    let pool = pool(Balance::RoundRobin, 2);
    assert_eq!(fails(&pool, 1, Failure::Status, 2, NOW), None);
    Pool::served(&server(&pool, 1), NOW);
    assert_eq!(fails(&pool, 1, Failure::Timeout, 2, NOW), None, "an answer came between");
    let mut now = NOW;
    for (times, seconds) in [(1, 10), (3, 20), (3, 30), (3, 40), (3, 50), (3, 60), (3, 60)] {
        let length = SECOND * seconds;
        assert_eq!(
            fails(&pool, 1, Failure::Broken, times, now),
            Some(Consequence::Ejected(length))
        );
        let last = Moment((now + length).0 - 1);
        assert!(!shares(&pool, last, 50).contains_key(&1), "{seconds}s");
        now = now + length;
        assert!(shares(&pool, now, 500).contains_key(&1), "{seconds}s");
    }
    // Time without one makes up for them.
    now = now + SECOND * 100;
    let consequence = fails(&pool, 1, Failure::Status, 3, now);
    assert_eq!(consequence, Some(Consequence::Ejected(10 * SECOND)));
}

#[test]
fn the_last_server_is_ejected_only_when_nobody_can_connect_to_it() {
    let one = pool(Balance::RoundRobin, 1);
    assert_eq!(fails(&one, 1, Failure::Status, 100, NOW), None);
    assert_eq!(chosen(&one, NOW, None), Some(1));
    let two = pool(Balance::RoundRobin, 2);
    goes_down(&two, 1);
    assert_eq!(fails(&two, 2, Failure::Status, 100, NOW), None, "its health check fails the other");
    assert_eq!(fails(&two, 2, Failure::Connect, 3, NOW), Some(Consequence::Unreachable));
    assert_eq!(chosen(&two, NOW, None), None);
    assert_eq!(chosen(&two, NOW + SECOND * 1000, None), None, "time does not bring it back");
    assert!(server(&two, 2).reached(NOW) && !server(&two, 2).reached(NOW));
    assert_eq!(chosen(&two, NOW, None), Some(2));
}

#[test]
fn a_good_health_check_tells_that_a_server_can_be_reached() {
    let pool = pool(Balance::RoundRobin, 2);
    fails(&pool, 1, Failure::Connect, 3, NOW);
    assert!(server(&pool, 1).is_unreachable());
    pool.checked(address(1), true, NOW);
    assert!(server(&pool, 1).is_usable(NOW));
}

#[test]
fn without_ejection_nothing_that_requests_meet_counts() {
    let pool = pool_by(Rules { ejection: None, ..rules(Balance::RoundRobin) }, 2);
    for failure in [Failure::Connect, Failure::Status, Failure::Timeout, Failure::Broken] {
        assert_eq!(fails(&pool, 1, failure, 100, NOW), None);
    }
    assert_eq!(shares(&pool, NOW, 10).len(), 2);
}

#[test]
fn a_full_server_is_passed_over_and_room_is_found_again() {
    for balance in [Balance::RoundRobin, Balance::LeastRequests, Balance::Hash] {
        let pool = pool_by(Rules { per_server: Some(3), ..rules(balance) }, 2);
        let choose = || pool.choose(NOW, Some(5), &Tried::default());
        let held: Vec<_> = (0..6).map(|_| choose().unwrap()).collect();
        assert!(pool.servers().iter().all(|it| it.in_flight() == 3));
        assert_eq!(choose().err(), Some(Unavailable::Full));
        assert!(!pool.has_another(NOW, &Tried::default()));
        drop(held);
        assert!(pool.servers().iter().all(|it| it.in_flight() == 0));
        assert!(choose().is_ok());
    }
}

#[test]
fn servers_that_stay_are_the_same_and_others_are_forgotten() {
    let pool = pool(Balance::RoundRobin, 2);
    goes_down(&pool, 1);
    let held = pool.choose(NOW, None, &Tried::default()).unwrap();
    pool.set([3, 1].map(address), NOW);
    assert!(!server(&pool, 1).is_up());
    assert_eq!(chosen(&pool, NOW, None), Some(3));
    drop(held);
    // Another configuration, with a server more and without health checks.
    let next = Pool::new(Rules { health: None, ..rules(Balance::RoundRobin) }, Some(&pool));
    next.set([1, 3].map(address), NOW);
    assert!(Arc::ptr_eq(&server(&next, 3), &server(&pool, 3)));
    assert!(server(&next, 1).is_up(), "nobody checks it");
}

#[test]
fn no_more_servers_than_can_be_looked_at() {
    let pool = Pool::new(rules(Balance::LeastRequests), None);
    assert_eq!(pool.choose(NOW, None, &Tried::default()).err(), Some(Unavailable::Unknown));
    pool.set((1..1000).map(address), NOW);
    assert_eq!(pool.servers().len(), MOST_SERVERS);
    let last = u16::try_from(MOST_SERVERS).unwrap();
    (1..last).for_each(|number| goes_down(&pool, number));
    assert_eq!(chosen(&pool, NOW, None), Some(last));
}

proptest! {
    /// A server that goes moves its own keys and no other, and gets them back.
    #[test]
    fn keys_stay_where_they_are(count in 2_u16..12, gone in 0_u16..12, keys in proptest::collection::vec(any::<u64>(), 1..200)) {
        let pool = pool(Balance::Hash, count);
        let gone = 1 + gone % count;
        let before: Vec<_> = keys.iter().map(|key| chosen(&pool, NOW, Some(*key)).unwrap()).collect();
        goes_down(&pool, gone);
        for (key, was) in keys.iter().zip(&before) {
            let is = chosen(&pool, NOW, Some(*key)).unwrap();
            prop_assert_eq!(is != *was, *was == gone, "{} to {}", was, is);
        }
        pool.checked(address(gone), true, NOW);
        let mut back = 0;
        for seconds in 0..=10 {
            // It takes them bit by bit, and no other's; what it has it keeps.
            let here = keys.iter().zip(&before).filter(|(key, was)| {
                let is = chosen(&pool, NOW + SECOND * seconds, Some(**key)).unwrap();
                assert!(is == gone || is == **was || **was == gone);
                is == gone
            });
            let here = here.count();
            prop_assert!(here >= back);
            back = here;
        }
        let after: Vec<_> = keys.iter().map(|key| chosen(&pool, NOW + SECOND * 10, Some(*key)).unwrap()).collect();
        prop_assert_eq!(before, after);
    }

    /// Keys are spread.
    #[test]
    fn keys_are_spread(seed in any::<u64>(), count in 2_u16..6) {
        let pool = pool(Balance::Hash, count);
        let mut shares: HashMap<u16, usize> = HashMap::new();
        for at in 0..600_u64 {
            let key = hash(&[seed.to_le_bytes(), at.to_le_bytes()].concat());
            *shares.entry(chosen(&pool, NOW, Some(key)).unwrap()).or_default() += 1;
        }
        let fair = 600 / usize::from(count);
        prop_assert!((1..=count).all(|it| shares.get(&it).is_some_and(|it| *it > fair / 2)), "{shares:?}");
    }

    /// Whatever requests meet, short of connections that cannot be made: somebody is left, and no
    /// more are out than may be.
    #[test]
    fn never_all_by_what_requests_meet(
        count in 1_u16..9,
        percent in 0_u32..=100,
        steps in proptest::collection::vec((0_u16..9, 0_u64..20_000, 0_usize..3), 1..200),
    ) {
        let ejection = Ejection { max_percent: percent, ..rules(Balance::RoundRobin).ejection.unwrap() };
        let pool = pool_by(Rules { ejection: Some(ejection), ..rules(Balance::RoundRobin) }, count);
        let mut now = NOW;
        for (at, pause, what) in steps {
            now = Moment(now.0 + pause);
            let failure = [Failure::Status, Failure::Timeout, Failure::Broken][what];
            fails(&pool, 1 + at % count, failure, 3, now);
            let out = pool.servers().iter().filter(|it| it.is_ejected(now)).count();
            prop_assert!(out * 100 <= usize::from(count) * percent as usize);
            prop_assert!(chosen(&pool, now, None).is_some());
        }
    }

    /// A server has exactly the requests that were begun there and have not ended.
    #[test]
    fn what_is_in_flight_is_exact(steps in proptest::collection::vec((any::<bool>(), 0_usize..50), 1..200)) {
        let pool = pool(Balance::LeastRequests, 3);
        let mut held = Vec::new();
        for (begins, which) in steps {
            if begins || held.is_empty() {
                held.push(pool.choose(NOW, None, &Tried::default()).unwrap());
            } else {
                held.swap_remove(which % held.len());
            }
            for server in pool.servers().iter() {
                let here = held.iter().filter(|it: &&InFlight| Arc::ptr_eq(it.server(), server)).count();
                prop_assert_eq!(server.in_flight() as usize, here);
            }
        }
    }
}

/// On many threads at once nobody has to wait, and nothing is lost.
#[test]
fn every_thread_at_once() {
    let pool = pool_by(Rules { per_server: Some(5), ..rules(Balance::LeastRequests) }, 3);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..5_000_u32 {
                    let held: Vec<_> = (0..4)
                        .filter_map(|_| pool.choose(NOW, None, &Tried::default()).ok())
                        .collect();
                    assert!(pool.servers().iter().all(|it| it.in_flight() <= 5));
                    if round % 7 == 0
                        && let Some(one) = held.first()
                    {
                        pool.failed(one.server(), Failure::Status, NOW);
                        Pool::served(one.server(), NOW);
                    }
                }
            });
        }
    });
    assert!(pool.servers().iter().all(|it| it.in_flight() == 0));
}
