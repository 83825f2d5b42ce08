//! Listening to channels: SUBSCRIBE, then messages until the connection ends.
//!
//! Invariant: a message is at most `MESSAGE_BYTES_MAX`, and a peer that says nothing, not even to
//! PING, is given up, so a half-open connection never looks like a quiet one. A peer that floods us
//! is hung up on. Refuses to know what a message means: it was written by whoever may publish.

use std::time::{Duration, Instant};

use model::reading::Reason;
use redis::Value;
use tokio::io::{AsyncWriteExt, WriteHalf};

use crate::connection::{Link, Stream};
use crate::error::{Error, line_of};
use crate::pipeline::pack;
use crate::reply;
use crate::resp::{Fault, Reader};

/// A message of a Sentinel is a line of some 100 bytes; everything longer is none.
const MESSAGE_BYTES_MAX: usize = 4096;
/// After this long without a word we ask whether the peer is there.
const QUIET: Duration = Duration::from_secs(20);

/// Messages a second above which a peer floods us: a Sentinel of a thousand masters that fail at once
/// has some thousands to tell.
const MESSAGES_PER_S_MAX: u32 = 10_000;

/// What a listener hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Every channel is subscribed: from here on nothing is missed.
    Subscribed,
    /// A message, each text at most 256 bytes.
    Message {
        /// The channel it came on.
        channel: String,
        /// What was published.
        text: String,
    },
}

/// Subscribes `link` to `channels` and hands everything heard to `hear`; ends only with the error
/// that ended the connection.
pub async fn listen(link: Link, channels: &[&str], mut hear: impl FnMut(Heard)) -> Error {
    let (mut read, mut write) = tokio::io::split(link.into_stream());
    let mut packed = Vec::new();
    let command: Vec<&str> = std::iter::once("SUBSCRIBE").chain(channels.iter().copied()).collect();
    pack(&mut packed, &command);
    if let Err(e) = send(&mut write, &packed).await {
        return e;
    }
    let mut missing = channels.len();
    let (mut second, mut messages) = (Instant::now(), 0);
    loop {
        let mut reader = Reader::new(&mut read);
        // What a reader has received beyond a message is the beginning of the next one, and lost
        // with the reader.
        loop {
            let value = match patiently(&mut reader, &mut write).await {
                Ok(value) => value,
                Err(e) => return e,
            };
            if second.elapsed() >= Duration::from_secs(1) {
                (second, messages) = (Instant::now(), 0);
            }
            messages += 1;
            if messages > MESSAGES_PER_S_MAX {
                return Error::new(Reason::TooLarge, "a flood of messages");
            }
            match take(&value, &mut missing) {
                Ok(Some(heard)) => hear(heard),
                Ok(None) => {}
                Err(e) => return e,
            }
            if !reader.has_surplus() {
                break;
            }
        }
    }
}

async fn send(write: &mut WriteHalf<Stream>, packed: &[u8]) -> Result<(), Error> {
    let sent = async {
        write.write_all(packed).await?;
        write.flush().await
    };
    match tokio::time::timeout(QUIET, sent).await {
        Ok(sent) => sent.map_err(|e| Error::io(&e, "sending")),
        Err(_) => Err(Error::new(Reason::Timeout, "nothing could be sent")),
    }
}

/// The next message; asks once in a silence whether anybody is there.
async fn patiently<S: tokio::io::AsyncRead + Unpin>(
    reader: &mut Reader<'_, S>,
    write: &mut WriteHalf<Stream>,
) -> Result<Value, Error> {
    let began = Instant::now();
    let reply = reader.reply(MESSAGE_BYTES_MAX);
    tokio::pin!(reply);
    let mut asked = false;
    loop {
        tokio::select! {
            biased;
            value = &mut reply => return value.map_err(broken),
            () = tokio::time::sleep(QUIET) => {}
        }
        if asked {
            let said = format!("no word for {} s", began.elapsed().as_secs());
            return Err(Error::new(Reason::Timeout, said));
        }
        asked = true;
        let mut ping = Vec::new();
        pack(&mut ping, &["PING"]);
        send(write, &ping).await?;
    }
}

fn broken(fault: Fault) -> Error {
    match fault {
        Fault::Closed => Error::new(Reason::Reset, "closed by the server"),
        Fault::Io(e) => Error::io(&e, "reading"),
        Fault::TooLarge(what) => Error::new(Reason::TooLarge, what),
        Fault::Protocol(what) => Error::new(Reason::Protocol, what),
    }
}

/// What a reply of a subscribed connection says to the listener; `missing` are the channels not
/// confirmed yet.
fn take(value: &Value, missing: &mut usize) -> Result<Option<Heard>, Error> {
    if let Value::ServerError(e) = value {
        return Err(Error::answered(&line_of(e)));
    }
    let Some([kind, rest @ ..]) = reply::items(value) else {
        return Err(Error::new(Reason::Protocol, "a subscription was answered with no array"));
    };
    match (reply::bytes(kind), rest) {
        (Some(b"message"), [channel, text]) => Ok(reply::text(channel)
            .zip(reply::text(text))
            .map(|(channel, text)| Heard::Message { channel, text })),
        (Some(b"subscribe"), _) => {
            *missing = missing.saturating_sub(1);
            Ok((*missing == 0).then_some(Heard::Subscribed))
        }
        (Some(b"pong"), _) => Ok(None),
        _ => Err(Error::new(Reason::Protocol, "not a message of a subscription")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(words: &[&str]) -> Value {
        Value::Array(words.iter().map(|w| Value::BulkString(w.as_bytes().to_vec())).collect())
    }

    #[test]
    fn nothing_is_heard_before_every_channel_is_confirmed() {
        let mut missing = 2;
        let confirmed = Value::Array(vec![
            Value::BulkString(b"subscribe".to_vec()),
            Value::BulkString(b"+sdown".to_vec()),
            Value::Int(1),
        ]);
        assert_eq!(take(&confirmed, &mut missing).unwrap(), None);
        assert_eq!(take(&confirmed, &mut missing).unwrap(), Some(Heard::Subscribed));
        let heard = take(&array(&["message", "+sdown", "master m 10.0.0.1 1"]), &mut missing);
        let text = "master m 10.0.0.1 1".to_string();
        let wanted = Heard::Message { channel: "+sdown".into(), text };
        assert_eq!(heard.unwrap(), Some(wanted));
        assert_eq!(take(&array(&["pong", ""]), &mut missing).unwrap(), None);
    }

    #[test]
    fn what_is_no_message_ends_the_listening() {
        for value in [Value::Okay, Value::Nil, array(&[]), array(&["message", "x"]), array(&["x"])]
        {
            assert_eq!(take(&value, &mut 1).unwrap_err().reason, Reason::Protocol, "{value:?}");
        }
    }
}
