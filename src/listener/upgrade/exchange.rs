//! One message: the addresses of listening sockets, with the sockets themselves.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::net::UnixStream,
    },
};

use nix::{
    cmsg_space,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, UnixCredentials, getsockopt,
        recvmsg, sendmsg, sockopt::PeerCredentials,
    },
    unistd::close,
};

/// Sockets that are ours until they are taken out; closed when they are not.
#[derive(Debug, Default)]
pub(in crate::listener) struct Received(Vec<(String, RawFd)>);

impl Received {
    /// Those of the addresses that are wanted. The others are closed.
    pub(in crate::listener) fn of(mut self, wanted: &[String]) -> Vec<(String, RawFd)> {
        let (kept, left) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(address, _)| wanted.contains(address));
        self.0 = left;
        kept
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        for (_, socket) in self.0.drain(..) {
            // A socket that cannot be closed is closed with the process.
            let _ = close(socket);
        }
    }
}

/// The process at the other end, which has to run as the user that we run as.
///
/// # Errors
/// When it does not.
pub(super) fn peer(stream: &UnixStream) -> io::Result<i32> {
    let peer = getsockopt(stream, PeerCredentials)?;
    if peer.uid() != our_user() {
        let what = format!("process {} runs as another user", peer.pid());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    Ok(peer.pid())
}

pub(super) fn our_user() -> u32 {
    UnixCredentials::new().uid()
}

/// Gives sockets with their addresses.
pub(super) fn send(stream: &UnixStream, sockets: &[(String, RawFd)]) -> io::Result<()> {
    let addresses: Vec<_> = sockets.iter().map(|(address, _)| address.as_str()).collect();
    let text = format!("{VERSION} {}\n", addresses.join(" "));
    if sockets.len() > MOST || text.len() > LONGEST {
        return Err(io::Error::other("there are too many listeners to hand over"));
    }
    let sockets: Vec<RawFd> = sockets.iter().map(|(_, socket)| *socket).collect();
    let (text, rights) = ([IoSlice::new(text.as_bytes())], [ControlMessage::ScmRights(&sockets)]);
    let to = None::<&UnixAddr>;
    let sent = sendmsg(stream.as_raw_fd(), &text, &rights, MsgFlags::MSG_NOSIGNAL, to)?;
    if text.iter().map(|text| text.len()).sum::<usize>() == sent {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// Takes what [`send`] gives.
pub(super) fn receive(stream: &UnixStream) -> io::Result<Received> {
    let mut received = Received::default();
    let mut text = vec![0; LONGEST];
    let mut space = cmsg_space!([RawFd; MOST]);
    let (mut filled, mut sockets) = {
        let mut buffer = [IoSliceMut::new(&mut text)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message =
            recvmsg::<UnixAddr>(stream.as_raw_fd(), &mut buffer, Some(&mut space), flags)?;
        let mut sockets = Vec::new();
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(rights) = part {
                sockets.extend(rights);
            }
        }
        (message.bytes, sockets)
    };
    // Closed if anything is wrong with the text.
    received.0.extend(sockets.drain(..).map(|socket| (String::new(), socket)));
    while !text.get(..filled).is_some_and(|text| text.ends_with(b"\n")) {
        let rest = text.get_mut(filled..).unwrap_or_default();
        match io::Read::read(&mut { stream }, rest)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => filled += more,
        }
    }
    let text = text.get(..filled).unwrap_or_default();
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "that is no offer of listeners");
    let text = std::str::from_utf8(text).map_err(|_| wrong())?;
    let addresses = text.trim_end().strip_prefix(VERSION).ok_or_else(wrong)?;
    let addresses: Vec<_> = addresses.split_ascii_whitespace().collect();
    if addresses.len() != received.0.len() {
        return Err(wrong());
    }
    for ((to, _), address) in received.0.iter_mut().zip(addresses) {
        address.clone_into(to);
    }
    Ok(received)
}

/// Another form would have another number.
const VERSION: &str = "portcullis-listeners/1";
/// Linux takes 253 in one message.
const MOST: usize = 128;
const LONGEST: usize = 16 * 1024;
