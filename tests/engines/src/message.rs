// SPDX-License-Identifier: GPL-2.0
//! What processes tell each other about requests.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::errno::Errno;
use crate::error::Error;
use crate::single::uninterrupted;

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The engine is open, or why not.
    Ready {
        /// Zero, or the error.
        errno: i32,
    },
    /// A request.
    Do {
        /// For which process in a row.
        generation: u64,
        /// The caller's slot.
        slot: usize,
        /// A write, not a read.
        write: bool,
        /// Offset in the file.
        offset: u64,
        /// Bytes.
        len: usize,
        /// Where the data lies in the memory that both share.
        place: usize,
    },
    /// A request has ended.
    Done {
        /// The caller's slot.
        slot: usize,
        /// Bytes, or a negated error number.
        result: i64,
    },
    /// The process was killed.
    Died {
        /// By which signal.
        signal: i32,
    },
    /// A request has ended that had ended before.
    Twice,
}

/// Its form on the way.
type Packet = [u64; 7];

impl Message {
    /// A request has ended.
    pub(crate) fn done(slot: usize, result: Result<usize, Errno>) -> Self {
        let result = match result {
            Ok(n) => n as i64,
            Err(errno) => -i64::from(errno.0),
        };
        Self::Done { slot, result }
    }

    fn pack(&self) -> Packet {
        match *self {
            Self::Ready { errno } => [0, errno as u64, 0, 0, 0, 0, 0],
            Self::Do {
                generation,
                slot,
                write,
                offset,
                len,
                place,
            } => [
                1,
                generation,
                slot as u64,
                u64::from(write),
                offset,
                len as u64,
                place as u64,
            ],
            Self::Done { slot, result } => [2, slot as u64, result as u64, 0, 0, 0, 0],
            Self::Died { signal } => [3, signal as u64, 0, 0, 0, 0, 0],
            Self::Twice => [4, 0, 0, 0, 0, 0, 0],
        }
    }

    fn unpack(packet: Packet) -> Self {
        match packet {
            [0, errno, ..] => Self::Ready {
                errno: errno as i32,
            },
            [1, generation, slot, write, offset, len, place] => Self::Do {
                generation,
                slot: slot as usize,
                write: write != 0,
                offset,
                len: len as usize,
                place: place as usize,
            },
            [2, slot, result, ..] => Self::Done {
                slot: slot as usize,
                result: result as i64,
            },
            [4, ..] => Self::Twice,
            [_, signal, ..] => Self::Died {
                signal: signal as i32,
            },
        }
    }
}

/// Two ends of a socket that keeps messages apart.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Error> {
    let mut ends = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `ends` is valid for writing two descriptors.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } < 0 {
        return Err(Error::call("socketpair"));
    }
    // SAFETY: both descriptors were opened just now and belong to nobody else.
    let [a, b] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((a, b))
}

/// Sends a message.
pub(crate) fn send(socket: &OwnedFd, message: &Message) -> Result<(), Errno> {
    let packet = message.pack();
    let (fd, len) = (socket.as_raw_fd(), size_of::<Packet>());
    // SAFETY: the packet is valid for reading that many bytes.
    uninterrupted(|| unsafe {
        Errno::check(libc::send(
            fd,
            packet.as_ptr().cast(),
            len,
            libc::MSG_NOSIGNAL,
        ))
    })?;
    Ok(())
}

/// Receives a message; none if the other end is closed.
pub(crate) fn receive(socket: &OwnedFd) -> Result<Option<Message>, Error> {
    let mut packet: Packet = [0; 7];
    let (fd, len) = (socket.as_raw_fd(), size_of::<Packet>());
    // SAFETY: the packet is valid for writing that many bytes.
    let got = uninterrupted(|| unsafe {
        Errno::check(libc::recv(fd, packet.as_mut_ptr().cast(), len, 0))
    });
    match got {
        Ok(0) | Err(Errno(libc::ECONNRESET)) => Ok(None),
        Ok(_) => Ok(Some(Message::unpack(packet))),
        Err(errno) => Err(Error::Call {
            call: "recv",
            errno,
        }),
    }
}

/// Whether a message, or the end, arrives within a time.
pub(crate) fn readable(socket: &OwnedFd, wait: Duration) -> Result<bool, Error> {
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let wait = i32::try_from(wait.as_millis()).unwrap_or(-1);
    // SAFETY: `poll` is one valid structure.
    match Errno::check(unsafe { libc::poll(&mut poll, 1, wait) } as libc::ssize_t) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(Error::Call {
            call: "poll",
            errno,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let (a, b) = pair().unwrap();
        let messages = [
            Message::Ready { errno: 95 },
            Message::Do {
                generation: 3,
                slot: 7,
                write: true,
                offset: u64::MAX,
                len: 512,
                place: 8192,
            },
            Message::done(1, Err(Errno::EIO)),
            Message::done(2, Ok(4096)),
            Message::Died { signal: 14 },
            Message::Twice,
        ];
        for message in messages {
            send(&a, &message).unwrap();
        }
        for message in messages {
            assert!(readable(&b, Duration::ZERO).unwrap());
            assert_eq!(receive(&b).unwrap(), Some(message));
        }
        assert!(!readable(&b, Duration::ZERO).unwrap());
        drop(a);
        assert_eq!(receive(&b).unwrap(), None);
    }
}
