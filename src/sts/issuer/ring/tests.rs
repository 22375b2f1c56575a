use super::*;
use crate::sts::issuer::generate;

const PACE: Pace = Pace { settle: Duration::from_mins(11), longest: Duration::from_mins(5) };
/// A second more than Core and a cache before it may take.
const DUE: u64 = 661;
const T0: Timestamp = Timestamp(1_760_000_000);

fn after(seconds: u64) -> Timestamp {
    Timestamp(T0.0 + seconds)
}

/// Keys a, b, … as their files; and what each is called.
struct Files(Vec<SecretString>);

impl Files {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| generate().unwrap()).collect())
    }

    fn kid(&self, at: usize) -> Arc<str> {
        Pair::read(&self.0[at]).unwrap().kid
    }

    fn pairs(&self, order: &[usize]) -> Vec<Pair> {
        read(order.iter().map(|&at| &self.0[at])).unwrap()
    }

    fn first(&self, order: &[(usize, Timestamp)], now: Timestamp) -> Ring {
        let keys =
            order.iter().map(|&(at, since)| (Pair::read(&self.0[at]).unwrap(), since)).collect();
        Ring::first(keys, PACE, now).unwrap()
    }

    fn published(&self, ring: &Ring) -> Vec<usize> {
        let document: serde_json::Value = serde_json::from_slice(&ring.published().0).unwrap();
        let keys = document["keys"].as_array().unwrap();
        let place = |kid: &str| (0..self.0.len()).find(|&at| *self.kid(at) == *kid).unwrap();
        keys.iter().map(|key| place(key["kid"].as_str().unwrap())).collect()
    }

    fn signing(&self, ring: &Ring) -> usize {
        (0..self.0.len()).find(|&at| self.kid(at) == ring.signing().kid).unwrap()
    }
}

const OLD: Timestamp = Timestamp(0);

#[test]
fn a_new_first_key_signs_once_core_must_know_it() {
    let files = Files::new(2);
    let before = files.first(&[(0, OLD)], T0);
    let ring = before.replaced(files.pairs(&[1, 0]), PACE, T0).unwrap();
    assert_eq!((files.published(&ring), files.signing(&ring)), (vec![1, 0], 0));
    let (new, old) = (files.kid(1), files.kid(0));
    let due = after(DUE);
    assert_eq!(
        ring.changes(Some(&before), PACE, T0),
        [
            Change::Published(Arc::clone(&new)),
            Change::Waiting { first: Arc::clone(&new), signing: Arc::clone(&old), due },
        ]
    );
    assert!(ring.advanced(PACE, after(DUE - 1)).is_none(), "a second early");
    let next = ring.advanced(PACE, due).unwrap();
    assert_eq!((files.published(&next), files.signing(&next)), (vec![1, 0], 1));
    assert_eq!(next.changes(Some(&ring), PACE, due), [Change::Signs(new)]);
}

#[test]
fn a_key_published_as_the_second_signs_as_soon_as_it_is_the_first() {
    let files = Files::new(2);
    let ring = files.first(&[(0, OLD)], T0).replaced(files.pairs(&[0, 1]), PACE, T0).unwrap();
    assert_eq!((files.published(&ring), files.signing(&ring)), (vec![0, 1], 0));
    assert!(ring.advanced(PACE, after(10 * DUE)).is_none(), "not without a word of the operator");
    let early = ring.replaced(files.pairs(&[1, 0]), PACE, after(100)).unwrap();
    assert_eq!(files.signing(&early), 0);
    assert_eq!(files.signing(&early.advanced(PACE, after(DUE)).unwrap()), 1);
    let swapped = ring.replaced(files.pairs(&[1, 0]), PACE, after(DUE)).unwrap();
    assert_eq!(files.signing(&swapped), 1);
}

#[test]
fn a_removed_key_signs_nothing_and_is_published_while_its_tokens_live() {
    let files = Files::new(2);
    let ring = files.first(&[(0, OLD), (1, OLD)], T0);
    assert_eq!(files.signing(&ring), 0);
    let removed = ring.replaced(files.pairs(&[1]), PACE, after(50)).unwrap();
    assert_eq!((files.published(&removed), files.signing(&removed)), (vec![1, 0], 1));
    let until = after(50 + 301);
    assert_eq!(
        removed.changes(Some(&ring), PACE, after(50)),
        [Change::Retired(files.kid(0), until), Change::Signs(files.kid(1))]
    );
    assert!(removed.advanced(PACE, after(350)).is_none());
    let gone = removed.advanced(PACE, until).unwrap();
    assert_eq!(files.published(&gone), [1]);
    assert_eq!(gone.changes(Some(&removed), PACE, until), [Change::Withdrawn(files.kid(0))]);
}

#[test]
fn a_key_that_never_signed_goes_at_once() {
    let files = Files::new(2);
    let ring = files.first(&[(0, OLD), (1, OLD)], T0);
    let removed = ring.replaced(files.pairs(&[0]), PACE, after(50)).unwrap();
    assert_eq!((files.published(&removed), files.signing(&removed)), (vec![0], 0));
}

#[test]
fn a_key_that_comes_back_has_been_published_all_the_while() {
    let files = Files::new(2);
    let ring = files.first(&[(0, OLD)], T0);
    let removed = ring.replaced(files.pairs(&[1]), PACE, after(10)).unwrap();
    assert_eq!(files.signing(&removed), 1);
    let early = Change::TooEarly(files.kid(1), after(10 + DUE));
    assert!(removed.changes(Some(&ring), PACE, after(10)).contains(&early));
    let back = removed.replaced(files.pairs(&[0, 1]), PACE, after(20)).unwrap();
    assert_eq!((files.published(&back), files.signing(&back)), (vec![0, 1], 0));
}

#[test]
fn at_the_start_the_list_counts_unless_the_first_file_is_young_and_another_is_not() {
    let files = Files::new(2);
    let signing = |order: &[(usize, Timestamp)]| files.signing(&files.first(order, T0));
    assert_eq!(signing(&[(1, OLD), (0, OLD)]), 1);
    assert_eq!(signing(&[(1, T0), (0, OLD)]), 0, "written just before the restart");
    assert_eq!(signing(&[(1, T0), (0, T0)]), 1, "mounted anew, both of them");
    assert_eq!(signing(&[(1, T0)]), 1);
    let tomorrow = after(86_400);
    let ring = files.first(&[(1, tomorrow), (0, OLD)], T0);
    assert_eq!(files.signing(&ring.advanced(PACE, after(DUE)).unwrap()), 1, "a clock that is off");
}

#[test]
fn the_tag_changes_with_the_document_and_only_with_it() {
    let files = Files::new(2);
    let ring = files.first(&[(0, OLD), (1, OLD)], T0);
    let same = files.first(&[(0, OLD), (1, OLD)], after(5));
    let other = files.first(&[(1, OLD), (0, OLD)], T0);
    assert_eq!(ring.published(), same.published());
    assert_ne!(ring.published().1, other.published().1);
}
