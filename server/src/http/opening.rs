//! A connection's first bytes: by its deadline a peer has shown which HTTP it speaks.
//!
//! Invariant: silence, and a part of HTTP/2's preface, end at the deadline; from the first byte that
//! tells HTTP/1 or the whole preface on, nothing is delayed or cut here. Refuses to know requests.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// What HTTP/2 begins with (RFC 9113, section 3.4). While what came is a part of it, hyper waits for
/// the rest with no timer of its own.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose reading fails with `TimedOut` when the version is not known by the deadline.
pub(super) struct Opening<S> {
    stream: S,
    /// Bytes of the preface that came.
    seen: usize,
    /// None once the version is known.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Opening<S> {
    /// The time counts from here.
    pub(super) fn new(stream: S, time: Duration) -> Opening<S> {
        Opening { stream, seen: 0, deadline: Some(Box::pin(tokio::time::sleep(time))) }
    }

    fn saw(&mut self, bytes: &[u8]) {
        let rest = &PREFACE[self.seen..];
        if rest.len() > bytes.len() && rest.starts_with(bytes) {
            self.seen += bytes.len();
        } else {
            self.deadline = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match (Pin::new(&mut this.stream).poll_read(cx, buf), &mut this.deadline) {
            (Poll::Pending, Some(deadline)) => {
                ready!(deadline.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was asked")))
            }
            (Poll::Ready(Ok(())), Some(_)) => {
                this.saw(&buf.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            (other, _) => other,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// Short enough that the test waits for little; what must end, ends whenever it comes.
    const SHORT: Duration = Duration::from_millis(20);
    /// Longer than a busy machine holds up a test.
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn silence_and_half_a_preface_end_at_the_deadline() {
        for said in [&b""[..], b"P", &PREFACE[..23]] {
            let (mut peer, stream) = duplex(64);
            peer.write_all(said).await.unwrap();
            let mut opening = Opening::new(stream, SHORT);
            let mut read = Vec::new();
            let e = opening.read_to_end(&mut read).await.unwrap_err();
            assert_eq!((e.kind(), &read[..]), (io::ErrorKind::TimedOut, said));
        }
    }

    #[tokio::test]
    async fn a_peer_whose_version_is_known_is_left_alone() {
        for said in [&b"G"[..], b"PRx", PREFACE, b"GET / HTTP/1.0\r\n\r\n"] {
            let (mut peer, stream) = duplex(64);
            peer.write_all(said).await.unwrap();
            let mut opening = Opening::new(stream, LONG);
            let mut read = vec![0; said.len()];
            opening.read_exact(&mut read).await.unwrap();
            assert!(opening.deadline.is_none(), "{said:?}");
        }
    }
}
