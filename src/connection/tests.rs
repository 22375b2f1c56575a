use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Cut, Frames, Pace, Patience, RESETS, frames::Waiting};

const PATIENCE: Patience =
    Patience { head: Duration::from_secs(10), silence: Duration::from_secs(60) };
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, 1]);
    frame.extend(payload);
    frame
}

#[test]
fn the_time_for_a_head_runs_from_its_first_byte_however_it_trickles() {
    let start = Instant::now();
    let mut pace = Pace::new(PATIENCE, start);
    assert_eq!(pace.deadline(false), Some((after(start, 60), Cut::Silent)));
    for second in 3..12 {
        pace.received(b"G", false, after(start, second)).unwrap();
        assert_eq!(pace.deadline(false), Some((after(start, 13), Cut::SlowHead)));
    }
}

#[test]
fn a_body_and_an_idle_connection_owe_no_head() {
    let start = Instant::now();
    let mut pace = Pace::new(PATIENCE, start);
    pace.received(b"POST / HTTP/1.1\r\n\r\n", false, start).unwrap();
    assert_eq!(pace.deadline(true), None);
    pace.received(b"body", true, after(start, 20)).unwrap();
    assert_eq!(pace.deadline(true), None);
    pace.served();
    assert_eq!(pace.deadline(false), None);
    pace.received(b"G", false, after(start, 50)).unwrap();
    assert_eq!(pace.deadline(false), Some((after(start, 60), Cut::SlowHead)));
}

#[test]
fn over_http2_the_preface_and_a_header_block_are_heads() {
    let start = Instant::now();
    let mut pace = Pace::new(PATIENCE, start);
    pace.speaks_http2();
    pace.received(&PREFACE[..5], false, after(start, 1)).unwrap();
    assert_eq!(pace.deadline(false), Some((after(start, 11), Cut::SlowHead)));
    pace.received(&PREFACE[5..], false, after(start, 2)).unwrap();
    assert_eq!(pace.deadline(false), None);

    // A block without an end, and then its continuations, byte by byte.
    pace.received(&frame(1, 0, b"abc"), true, after(start, 20)).unwrap();
    pace.received(&frame(9, 0, b""), true, after(start, 25)).unwrap();
    pace.received(&[0, 0], true, after(start, 29)).unwrap();
    assert_eq!(pace.deadline(true), Some((after(start, 30), Cut::SlowHead)));
    pace.received(&[1, 9, 4, 0, 0, 0, 1, 42], true, after(start, 29)).unwrap();
    assert_eq!(pace.deadline(true), None);

    // The body of a slow upload moves, and that is enough.
    pace.received(&frame(0, 0, &[0; 100])[..50], true, after(start, 40)).unwrap();
    pace.received(&[0; 10], true, after(start, 90)).unwrap();
    assert_eq!(pace.deadline(true), Some((after(start, 150), Cut::Silent)));
}

#[test]
fn r30_a_flood_of_resets_ends_the_connection() {
    let start = Instant::now();
    let reset = frame(3, 0, &[0, 0, 0, 8]);
    let mut pace = Pace::new(PATIENCE, start);
    pace.speaks_http2();
    pace.received(PREFACE, false, start).unwrap();
    let floods = (0..=RESETS).map(|_| pace.received(&reset, true, after(start, 1)));
    assert_eq!(floods.last(), Some(Err(Cut::Resets)));

    // As many over a longer time are a client that changes its mind.
    let mut pace = Pace::new(PATIENCE, start);
    pace.speaks_http2();
    pace.received(PREFACE, false, start).unwrap();
    for at in 0..u64::from(RESETS) * 4 {
        let now = start + Duration::from_millis(at * 50);
        pace.received(&reset, true, now).unwrap();
    }
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    (0_u8..12, any::<u8>(), prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(kind, flags, payload)| frame(kind, flags, &payload))
}

proptest! {
    /// However the bytes are cut, the same is seen of them.
    #[test]
    fn frames_are_read_alike_in_any_pieces(
        frames in prop::collection::vec(any_frame(), 0..12),
        lost in 0_usize..12,
        cuts in prop::collection::vec(1_usize..30, 1..40),
    ) {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frames.concat());
        bytes.truncate(bytes.len().saturating_sub(lost));
        let (waiting, resets) = Frames::new().read(&bytes);
        let mut pieces = Frames::new();
        let mut rest = &bytes[..];
        let mut seen = (Waiting::Head, 0);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            let (waiting, resets) = pieces.read(piece);
            seen = (waiting, seen.1 + resets);
            rest = after;
        }
        prop_assert_eq!(seen, (waiting, resets));
        if lost == 0 {
            let reset = frames.iter().filter(|frame| frame[3] == 3).count();
            prop_assert_eq!(resets as usize, reset);
        }
    }
}
