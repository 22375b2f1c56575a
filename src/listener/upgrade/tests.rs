use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::AsRawFd as _,
        unix::{fs::PermissionsExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
};

use super::{exchange, place::Place, prepare, private};

fn directory() -> PathBuf {
    let path = std::env::temp_dir().join(format!("pcu-{}", uuid::Uuid::new_v4().as_simple()));
    fs::create_dir(&path).unwrap();
    path
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_directory_is_private_or_of_no_use() {
    let directory = directory();
    let socket = directory.join("socket");
    mode(&directory, 0o700);
    assert_eq!(private(&socket), Ok(()));
    for open in [0o777, 0o750, 0o705, 0o720, 0o1777] {
        mode(&directory, open);
        assert!(private(&socket).unwrap_err().contains("others may enter"), "{open:o}");
        assert!(prepare(&socket).is_err(), "{open:o}");
    }
    mode(&directory, 0o700);
    fs::write(directory.join("file"), "").unwrap();
    assert!(private(&directory.join("file/socket")).unwrap_err().contains("no directory"));
    assert!(private(Path::new("socket")).unwrap_err().contains("a directory of its own"));
    let long = directory.join("x".repeat(100));
    assert!(private(&long).unwrap_err().contains("longer than"));
    // One that is not there will be made.
    let new = directory.join("new/socket");
    assert_eq!(private(&new), Ok(()));
    prepare(&new).unwrap();
    let made = fs::metadata(directory.join("new")).unwrap().permissions().mode();
    assert_eq!(made & 0o777, 0o700);
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_socket_is_for_its_owner_and_takes_the_place_of_another() {
    let directory = directory();
    mode(&directory, 0o700);
    let path = directory.join("socket");
    let first = Place::listen(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(prepare(&path).unwrap_err().to_string().contains("--upgrade"), "somebody serves there");
    let second = Place::listen(&path).unwrap();
    drop(first);
    let _there = UnixStream::connect(&path).unwrap();
    second.accept().unwrap();
    drop(second);
    prepare(&path).unwrap();
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    fs::remove_dir_all(&directory).unwrap();
}

fn listeners(count: usize) -> Vec<(SocketAddr, TcpListener)> {
    let listen = |_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (listener.local_addr().unwrap(), listener)
    };
    (0..count).map(listen).collect()
}

#[test]
fn sockets_pass_with_their_addresses_and_what_is_not_wanted_is_closed() {
    let (old, new) = UnixStream::pair().unwrap();
    let both = listeners(2);
    let given: Vec<_> =
        both.iter().map(|(address, it)| (address.to_string(), it.as_raw_fd())).collect();
    exchange::send(&old, &given).unwrap();
    let [first, second] = [both[0].0, both[1].0];
    let kept = exchange::receive(&new).unwrap().of(&[first.to_string()]);
    let [(address, socket)] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!(*address, first.to_string());
    // The old process ends, and the connection is there all the same.
    drop(both);
    assert!(TcpStream::connect(first).is_ok());
    assert!(TcpStream::connect(second).is_err());
    nix::unistd::close(*socket).unwrap();
    assert!(TcpStream::connect(first).is_err());
}

#[test]
fn what_is_no_offer_is_refused_and_nothing_stays_open() {
    for text in ["", "hello\n", "portcullis-listeners/1 127.0.0.1:1\n", "portcullis-listeners/1"] {
        let (mut old, new) = UnixStream::pair().unwrap();
        old.write_all(text.as_bytes()).unwrap();
        drop(old);
        assert!(exchange::receive(&new).is_err(), "{text:?}");
    }
    // One address too many for one socket.
    let (old, new) = UnixStream::pair().unwrap();
    let [(address, listener)] = <[_; 1]>::try_from(listeners(1)).unwrap();
    let two = format!("{address} {address}");
    exchange::send(&old, &[(two, listener.as_raw_fd())]).unwrap();
    drop(listener);
    assert!(exchange::receive(&new).is_err());
    assert!(TcpStream::connect(address).is_err(), "it is closed");
    let too_many: Vec<_> = (0..200).map(|at| (format!("{at}"), 0)).collect();
    assert!(exchange::send(&old, &too_many).is_err());
    let (left, _right) = UnixStream::pair().unwrap();
    assert_eq!(exchange::peer(&left).unwrap(), i32::try_from(std::process::id()).unwrap());
}
