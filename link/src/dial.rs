//! Dialling: resolve, connect, TLS, AUTH, under one deadline.
//!
//! Invariant: a password leaves only towards the target it belongs to, and after TLS when the target
//! asks for TLS. Nothing a server says leads to another dial here.

use std::time::{Duration, Instant};

use model::reading::Reason;
use tokio::net::{TcpStream, lookup_host};
use tokio_util::either::Either;

use crate::connection::{Link, Stream};
use crate::error::Error;
use crate::{Target, pace, tls};

/// Connects and, when the target has a password, authenticates. `timeout` covers everything but
/// the wait for this process' own connect limit.
pub async fn dial(target: &Target, timeout: Duration) -> Result<Link, Error> {
    pace::turn().await;
    let began = Instant::now();
    let open = async {
        let stream = open(target).await?;
        let mut link = Link::new(stream);
        if target.tls.as_ref().is_some_and(|tls| tls.cert_file.is_none()) {
            link.set_without_certificate();
        }
        if let Some(password) = &target.password {
            link.auth(&target.user, password.reveal(), timeout).await?;
        }
        Ok(link)
    };
    let mut link = match tokio::time::timeout(timeout, open).await {
        Ok(link) => link?,
        Err(_) => {
            let said = format!("not connected within {} ms", timeout.as_millis());
            return Err(Error::new(Reason::Timeout, said));
        }
    };
    link.set_connect_us(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
    Ok(link)
}

async fn open(target: &Target) -> Result<Stream, Error> {
    let Some((host, port)) = model::id::split_address(&target.address) else {
        return Err(Error::new(Reason::Dns, format!("{:?} is not host:port", target.address)));
    };
    let stream = connect(host, port).await?;
    stream.set_nodelay(true).map_err(|e| Error::io(&e, "setting TCP_NODELAY"))?;
    match &target.tls {
        None => Ok(Either::Left(stream)),
        Some(tls) => {
            let to = (target.address.as_str(), host);
            Ok(Either::Right(Box::new(tls::wrap(stream, tls, to).await?)))
        }
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, Error> {
    let addresses = lookup_host((host, port))
        .await
        .map_err(|e| Error::new(Reason::Dns, format!("{host}: {e}")))?;
    let mut last = Error::new(Reason::Dns, format!("{host}: no address"));
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(e) => last = connect_failed(&e),
        }
    }
    Err(last)
}

/// Without a route nobody answered: it is a matter of the path, like a time-out, and not the
/// server's own refusal.
fn connect_failed(error: &std::io::Error) -> Error {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    match error.kind() {
        ConnectionRefused => Error::io(error, "connecting"),
        HostUnreachable | NetworkUnreachable => {
            Error::new(Reason::Timeout, format!("connecting: {error}"))
        }
        _ => Error::io(error, "connecting"),
    }
}
