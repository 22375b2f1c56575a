use super::{
    super::chain::{Link, Reading},
    *,
};

/// A directory of this test's own.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("portcullis-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn chain() -> Chain {
    Chain::new(None, Link::START)
}

fn is_whole(files: &[PathBuf]) -> bool {
    let mut reading = Reading::new(None);
    files.iter().all(|file| {
        let bytes = std::fs::read(file).unwrap();
        bytes.split_inclusive(|byte| *byte == b'\n').all(|line| reading.next(line).is_ok())
    })
}

#[test]
fn a_rotated_file_is_left_and_the_chain_goes_on_in_the_new_one() {
    let place = Place::new("rotated");
    let (path, old) = (place.0.join("audit.log"), place.0.join("audit.log.1"));
    let mut file = Appended::open(&path, Some(chain())).unwrap();
    file.write(&[b"{\"n\":1}\n".to_vec(), b"{\"n\":2}\n".to_vec()]).unwrap();
    std::fs::rename(&path, &old).unwrap();
    file.looked -= LOOK_EVERY;
    file.write(&[b"{\"n\":3}\n".to_vec()]).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    assert!(is_whole(&[old, path.clone()]));
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o007, 0, "nobody else reads it");
}

#[test]
fn a_torn_line_is_taken_away_and_the_chain_goes_on_after_the_last_whole_one() {
    let place = Place::new("torn");
    let path = place.0.join("audit.log");
    Appended::open(&path, Some(chain())).unwrap().write(&[b"{\"n\":1}\n".to_vec()]).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"n\":2");
    std::fs::write(&path, bytes).unwrap();
    let mut file = Appended::open(&path, Some(chain())).unwrap();
    file.write(&[b"{\"n\":3}\n".to_vec()]).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    assert!(is_whole(&[path]));
}

#[test]
fn a_file_that_is_no_chain_is_not_taken_for_one() {
    let place = Place::new("unchained");
    let path = place.0.join("audit.log");
    std::fs::write(&path, "{\"n\":1}\n").unwrap();
    assert!(Appended::open(&path, Some(chain())).is_err());
    assert!(Appended::open(&path, None).is_ok());
}

#[test]
fn a_full_disk_is_an_error_and_leaves_the_chain_where_it_was() {
    let mut file = Appended::open(Path::new("/dev/full"), Some(chain())).unwrap();
    let error = file.write(&[b"{\"n\":1}\n".to_vec()]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.chain.unwrap().last(), Link::START);
}

#[test]
fn syslog_gets_one_message_a_record_and_is_found_again_after_its_restart() {
    let place = Place::new("syslog");
    let path = place.0.join("log");
    let daemon = UnixDatagram::bind(&path).unwrap();
    let mut syslog = Syslog::open(&path, AUDIT).unwrap();
    let receive = |daemon: &UnixDatagram| {
        daemon.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut bytes = [0; 1024];
        let length = daemon.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    syslog.write(&[b"{\"n\":1}\n".to_vec(), b"{\"n\":2}\n".to_vec()]).unwrap();
    let message = receive(&daemon);
    assert!(message.starts_with("<86>1 20"), "{message}");
    assert!(message.ends_with(" record - {\"n\":1}"), "{message}");
    assert!(receive(&daemon).ends_with("{\"n\":2}"));

    drop(daemon);
    std::fs::remove_file(&path).unwrap();
    assert!(syslog.write(&[b"{\"n\":3}\n".to_vec()]).is_err());
    let daemon = UnixDatagram::bind(&path).unwrap();
    syslog.write(&[b"{\"n\":4}\n".to_vec()]).unwrap();
    assert!(receive(&daemon).ends_with("{\"n\":4}"));
}

#[test]
fn two_processes_go_on_with_one_chain_and_what_is_gone_is_missed() {
    let place = Place::new("two");
    let path = place.0.join("audit.log");
    let mut one = Appended::open(&path, Some(chain())).unwrap();
    one.write(&[b"{\"n\":1}\n".to_vec()]).unwrap();
    let mut two = Appended::open(&path, Some(chain())).unwrap();
    for _ in 0..3 {
        one.write(&[b"{\"n\":2}\n".to_vec(), b"{\"n\":3}\n".to_vec()]).unwrap();
        two.write(&[b"{\"n\":4}\n".to_vec()]).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 10);
    assert!(is_whole(std::slice::from_ref(&path)));
    // Somebody takes the last record away, and nobody goes on as if it had never been.
    let text = std::fs::read_to_string(&path).unwrap();
    let last = text.trim_end().rfind('\n').unwrap() + 1;
    let shorter = File::options().write(true).open(&path).unwrap();
    shorter.set_len(last.try_into().unwrap()).unwrap();
    two.write(&[b"{\"n\":5}\n".to_vec()]).unwrap();
    assert!(!is_whole(&[path]));
}
