use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;
use url::Url;

use super::*;

/// No files, no variables.
struct Bare;

impl Surroundings for Bare {
    fn file(&self, _: &Path, _: usize) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

fn read<T: Read>(text: &str) -> Result<T, String> {
    let mut faults = Faults::default();
    let node = yaml::parse("f", text, &mut faults).ok_or_else(|| faults.to_string())?;
    let mut cx = Reader::new(Path::new("/etc/portcullis"), &Bare);
    let value = T::read(&node, &mut cx);
    assert_eq!(value.is_none(), !cx.faults.is_empty(), "{text}: a fault and no value, or neither");
    value.ok_or_else(|| cx.faults.sorted().to_string())
}

fn faulty<T: Read>(text: &str) -> String {
    read::<T>(text).err().unwrap_or_else(|| panic!("{text} was read"))
}

section! {
    /// For the tests.
    struct Sample {
        /// Demanded.
        name: String,
        /// With a default.
        wait: Duration = "10s",
        /// May be absent.
        count: Option<usize> = "null",
        /// A word.
        colour: Colour = "red",
    }
}

choice! {
    /// For the tests.
    enum Colour { Red = "red", Green = "green" }
}

#[test]
fn a_section_takes_its_defaults() {
    let sample: Sample = read("name: n\n").unwrap();
    assert_eq!(sample.name, "n");
    assert_eq!(sample.wait, Duration::from_secs(10));
    assert_eq!(sample.count, None);
    assert_eq!(sample.colour, Colour::Red);
    let sample: Sample = read("{ name: n, wait: 2m, count: 3, colour: green }").unwrap();
    assert_eq!((sample.wait, sample.count), (Duration::from_mins(2), Some(3)));
    assert_eq!(sample.colour, Colour::Green);
}

#[test]
fn a_section_reports_every_fault_and_suggests() {
    assert_eq!(
        faulty::<Sample>("wait: 5\ncolor: red\ncount: \"3\"\ncolour: gren\n"),
        "f:1:1: name: is missing: Demanded.\n\
         f:1:7: wait: `5` is not a duration such as 500ms, 30s, 15m, 12h or 7d\n\
         f:2:1: color: unknown key; did you mean `colour`?\n\
         f:3:8: count: must be a whole number from 0 to 18446744073709551615, found a quoted text\n\
         f:4:9: colour: `gren` is not known here; did you mean `green`?"
    );
    assert!(
        faulty::<Sample>("[]").contains("a mapping with name, wait, count, colour, found a list")
    );
}

#[test]
fn lists_and_maps_report_every_element() {
    assert_eq!(read::<Vec<bool>>("[true, false]").unwrap(), [true, false]);
    let faults = faulty::<Vec<bool>>("[yes, true, no]");
    assert!(faults.contains("[0]: must be true or false") && faults.contains("[2]: "), "{faults}");
    let faults = faulty::<BTreeMap<String, u32>>("{ a: 1, b: -1, c: x }");
    assert!(faults.contains(" b: `-1` is not") && faults.contains(" c: `x` is not"), "{faults}");
}

#[test]
fn durations() {
    for (text, millis) in [("0s", 0), ("500ms", 500), ("30s", 30_000), ("15m", 900_000)] {
        assert_eq!(read::<Duration>(text).unwrap(), Duration::from_millis(millis));
    }
    assert_eq!(read::<Duration>("12h").unwrap(), Duration::from_hours(12));
    assert_eq!(read::<Duration>("7d").unwrap(), Duration::from_hours(168));
    for wrong in ["30", "-1s", "1.5s", "s", "1 s", "1S", "18446744073709551615d", "9999d", "[]"] {
        faulty::<Duration>(wrong);
    }
}

#[test]
fn texts_that_look_like_something_else_need_quotes() {
    assert_eq!(read::<String>("\"5\"").unwrap(), "5");
    assert_eq!(read::<String>("off").unwrap(), "off");
    for wrong in ["5", "1e3", "true", "null", "~", "{}"] {
        faulty::<String>(wrong);
    }
}

#[test]
fn networks_addresses_and_urls() {
    assert_eq!(read::<IpNet>("192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
    assert_eq!(read::<IpNet>("\"2001:db8::/32\"").unwrap().to_string(), "2001:db8::/32");
    assert!(faulty::<IpNet>("10.1.2.3/8").contains("write `10.0.0.0/8`"));
    faulty::<IpNet>("example.com");
    assert_eq!(read::<SocketAddr>("\"[::1]:80\"").unwrap().port(), 80);
    faulty::<SocketAddr>("localhost:80");
    assert_eq!(read::<Url>("https://a.example/x").unwrap().path(), "/x");
    for wrong in
        ["ftp://a.example", "a.example", "https://u:hush@a.example", "https://a.example/#x"]
    {
        assert!(!faulty::<Url>(wrong).contains("hush"));
    }
}
