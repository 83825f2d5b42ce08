//! A connection: one exchange at a time, under one deadline.
//!
//! Invariant: `poisoned` is set before the first byte of an exchange and cleared only after its last
//! reply was read whole and nothing was left over. So a time-out, a broken reply or a dropped future
//! leaves a link that refuses to work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use model::reading::Reason;
use redis::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::error::{Error, line_of};
use crate::own::Own;
use crate::pipeline::{Pipeline, budget, pack};
use crate::resp::{Fault, Reader};
use crate::tls;

pub(crate) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Budget of the reply to PING: a nonce, or an error line.
const LINE_BYTES: usize = 1024;

/// One connection to one Redis.
pub struct Link {
    stream: Stream,
    poisoned: bool,
    used: bool,
    heard: bool,
    connect_us: u32,
    first_us: Option<u32>,
    without_certificate: bool,
    certificate_ends_at: Option<i64>,
    _own: Option<Own>,
}

impl Link {
    pub(crate) fn new(stream: Stream) -> Link {
        let certificate_ends_at = match &stream {
            Either::Left(_) => None,
            Either::Right(tls) => tls::server_ends_at(tls),
        };
        let address = match &stream {
            Either::Left(tcp) => tcp.local_addr(),
            Either::Right(tls) => tls.get_ref().0.local_addr(),
        };
        Link {
            stream,
            poisoned: false,
            used: false,
            heard: false,
            connect_us: 0,
            first_us: None,
            without_certificate: false,
            certificate_ends_at,
            _own: address.ok().map(Own::new),
        }
    }

    /// Notes that TLS was spoken without a certificate of ours.
    pub(crate) fn set_without_certificate(&mut self) {
        self.without_certificate = true;
    }

    /// When the server's certificate ends, seconds since 1970; none without TLS.
    pub fn certificate_ends_at(&self) -> Option<i64> {
        self.certificate_ends_at
    }

    /// Whether its TLS handshake continued an earlier session, which costs both sides less.
    pub fn resumed(&self) -> bool {
        matches!(&self.stream, Either::Right(tls) if tls::is_resumed(tls))
    }

    pub(crate) fn set_connect_us(&mut self, us: u32) {
        self.connect_us = us;
    }

    /// The bare stream, for a conversation that is no exchange.
    pub(crate) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Whether this link must be dropped: an exchange did not end cleanly.
    pub fn poisoned(&self) -> bool {
        self.poisoned
    }

    /// TCP + TLS + AUTH when it was dialled, µs.
    pub fn connect_us(&self) -> u32 {
        self.connect_us
    }

    /// Whether the latest exchange received any byte. If not, nothing of its commands is known, but
    /// a read-only pipeline may be sent again on a fresh link.
    pub fn heard(&self) -> bool {
        self.heard
    }

    /// From sending to the first complete reply of the latest exchange, µs; none when unanswered.
    pub fn first_us(&self) -> Option<u32> {
        self.first_us
    }

    /// Sends one command and reads its reply; a server error is an `Err` that keeps its text
    /// ([`Error::server`]) and leaves the link usable. `timeout` covers sending and reading.
    ///
    /// A PING with a nonce follows the command. Had anything answered out of turn before, the nonce
    /// would not come back in its place; so the reply is that of this command, or none.
    pub async fn call(&mut self, args: &[&str], timeout: Duration) -> Result<Value, Error> {
        let nonce = nonce();
        let mut packed = zeroize::Zeroizing::new(Vec::with_capacity(256));
        pack(&mut packed, args);
        pack(&mut packed, &["PING", &nonce]);
        let mut replies = self.exchange(&packed, &[budget(args), LINE_BYTES], timeout).await?;
        match replies.pop() {
            // Not allowed to PING, not signed in, loading: the order cannot be proved, and such a
            // server has not shown a wrong one.
            Some(Value::ServerError(_)) => {}
            Some(Value::BulkString(echoed)) if echoed == nonce.as_bytes() => {}
            _ => {
                self.poisoned = true;
                return Err(Error::new(Reason::Protocol, "replies came out of turn"));
            }
        }
        match replies.pop() {
            Some(Value::ServerError(e)) => Err(Error::answered(&line_of(&e))),
            Some(value) => Ok(value),
            None => Err(Error::new(Reason::Protocol, "no reply")),
        }
    }

    /// Sends all commands at once and reads all replies, in order. An error reply to one command
    /// stays in its place as `Value::ServerError`. `timeout` covers the whole exchange.
    pub async fn pipeline(
        &mut self,
        pipeline: &Pipeline,
        timeout: Duration,
    ) -> Result<Vec<Value>, Error> {
        self.exchange(pipeline.bytes(), pipeline.budgets(), timeout).await
    }

    async fn exchange(
        &mut self,
        packed: &[u8],
        budgets: &[usize],
        timeout: Duration,
    ) -> Result<Vec<Value>, Error> {
        if self.poisoned {
            return Err(Error::new(Reason::Reset, "the connection was given up before"));
        }
        self.poisoned = true;
        self.heard = false;
        self.first_us = None;
        let first = !self.used;
        let replies = match tokio::time::timeout(timeout, self.converse(packed, budgets)).await {
            Ok(Err(e)) if first && self.turned_away(&e) => {
                let said = "the server ended the connection right after the handshake; it may ask \
                            for a client certificate, and none is set";
                return Err(Error::new(Reason::Tls, said));
            }
            Ok(replies) => replies?,
            Err(_) => return Err(timed_out(timeout, self.heard)),
        };
        self.poisoned = false;
        Ok(replies)
    }

    /// With TLS 1.3 a server judges our certificate after we think that all is well, and its word on
    /// it may be lost with the connection.
    fn turned_away(&self, error: &Error) -> bool {
        self.without_certificate && !self.heard && error.reason == Reason::Reset
    }

    async fn converse(&mut self, packed: &[u8], budgets: &[usize]) -> Result<Vec<Value>, Error> {
        if self.used {
            self.refuse_stale()?;
        }
        self.used = true;
        let began = Instant::now();
        let sent = self.send(packed).await;
        let mut reader = Reader::new(&mut self.stream);
        let mut replies = Vec::with_capacity(budgets.len());
        for budget in budgets {
            let reply = reader.reply(*budget).await;
            self.heard = reader.heard();
            match reply {
                Ok(value) => replies.push(value),
                Err(fault) => return Err(give_up(fault, sent.err(), &replies)),
            }
            if replies.len() == 1 {
                self.first_us =
                    Some(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
        }
        if reader.has_surplus() {
            return Err(Error::new(Reason::Protocol, "more replies than commands"));
        }
        Ok(replies)
    }

    async fn send(&mut self, packed: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(packed).await?;
        self.stream.flush().await
    }

    /// Looks, without waiting, whether the server closed an idle link or said something unasked.
    fn refuse_stale(&mut self) -> Result<(), Error> {
        let mut byte = [0u8; 1];
        match self.stream.read(&mut byte).now_or_never() {
            None => Ok(()),
            Some(Ok(0)) => Err(Error::new(Reason::Reset, "closed by the server while idle")),
            Some(Ok(_)) => Err(Error::new(Reason::Protocol, "bytes nobody asked for")),
            Some(Err(e)) => Err(Error::io(&e, "while idle")),
        }
    }

    /// Sends `AUTH`. The server's words are classed, never repeated: it could echo the password.
    pub(crate) async fn auth(
        &mut self,
        user: &str,
        password: &str,
        timeout: Duration,
    ) -> Result<(), Error> {
        let with_user = ["AUTH", user, password];
        let without = ["AUTH", password];
        let args: &[&str] = if user.is_empty() { &without } else { &with_user };
        match self.call(args, timeout).await {
            Ok(Value::Okay) => Ok(()),
            Ok(_) => Err(Error::new(Reason::Protocol, "AUTH was not answered with OK")),
            Err(e) => Err(match e.server() {
                Some(line) => auth_refused(line),
                None => e,
            }),
        }
    }
}

/// Unlike any before it in this process; nobody has to be kept from guessing it.
fn nonce() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("cachewarden-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn auth_refused(line: &str) -> Error {
    let reason = match crate::reason_of(line) {
        Reason::Protocol => Reason::Auth,
        other => other,
    };
    let said = match reason {
        Reason::Auth if line.contains("without any password configured") => {
            "the server has no password, a password was given"
        }
        Reason::Auth => "the server refused user or password",
        Reason::Maxclients => "the server's connection limit is reached",
        Reason::Loading => "the server is loading its data",
        Reason::Busy => "the server is busy running a script",
        _ => "AUTH was refused",
    };
    Error::new(reason, said)
}

fn timed_out(timeout: Duration, heard: bool) -> Error {
    let what = if heard { "no complete answer" } else { "no answer" };
    Error::new(Reason::Timeout, format!("{what} within {} ms", timeout.as_millis()))
}

/// A server that turns us away says why and closes; that line, when it came, is the reason.
fn give_up(fault: Fault, unsent: Option<std::io::Error>, replies: &[Value]) -> Error {
    if let (Fault::Closed | Fault::Io(_), Some(Value::ServerError(said))) = (&fault, replies.last())
    {
        return Error::answered(&line_of(said));
    }
    match (fault, unsent) {
        (Fault::Closed | Fault::Io(_), Some(e)) => Error::io(&e, "sending"),
        (Fault::Closed, None) => Error::new(Reason::Reset, "closed by the server"),
        (Fault::Io(e), None) => Error::io(&e, "reading"),
        (Fault::TooLarge(what), _) => Error::new(Reason::TooLarge, what),
        (Fault::Protocol(what), _) => Error::new(Reason::Protocol, what),
    }
}
