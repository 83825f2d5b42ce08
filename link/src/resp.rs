//! A bounded reader of RESP2 replies.
//!
//! Invariants: never holds more than it received plus one read buffer, whatever length a server
//! claims; a reply ends within its byte budget, 32 levels and the element budget or fails; all
//! readers of the process together hold little beyond what honest servers need. Refuses
//! RESP3 and inline text. Yields the same `redis::Value` the client library would.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use redis::Value;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Deepest nesting of arrays; real replies need 4 (CLUSTER SHARDS).
const DEPTH_MAX: usize = 32;
/// Elements of all replies read by one reader together; the largest real reply we ask for, CLUSTER
/// SHARDS of 1000 nodes, has 30 000.
const ELEMENTS_MAX: usize = 100_000;
/// Longest line (error, status, integer or length), its end included.
const LINE_MAX: usize = 64 << 10;
const LINE_TOO_LONG: Fault = Fault::TooLarge("line longer than 64 KiB");
/// Bytes asked from the socket at once; one INFO with command statistics fits.
const READ_BYTES: usize = 16 << 10;
/// A bulk string is given this much before its bytes arrive, never its claimed length.
const BULK_STEP: usize = 64 << 10;

/// What one exchange may hold without asking, bytes: a large real INFO is 100 kB.
const FREE_BYTES: usize = 512 << 10;
/// What all exchanges of the process together may hold beyond that. Budgets of single replies would
/// let 25 lying servers fill 100 MiB at once; honest large replies are gone within milliseconds.
const SHARED_BYTES: usize = 32 << 20;
/// Taken from the shared part at once.
const SHARED_STEP: usize = 256 << 10;

static SHARED_HELD: AtomicUsize = AtomicUsize::new(0);

/// Why no value could be read.
#[derive(Debug)]
pub(crate) enum Fault {
    /// End of the stream.
    Closed,
    /// The socket failed.
    Io(std::io::Error),
    /// A budget was exceeded; which.
    TooLarge(&'static str),
    /// Not RESP2; what was wrong.
    Protocol(&'static str),
}

/// Reads replies from a stream. Lives for one exchange.
pub(crate) struct Reader<'a, S> {
    stream: &'a mut S,
    buf: Vec<u8>,
    pos: usize,
    /// Bytes left for the present reply.
    left: usize,
    elements: usize,
    heard: bool,
    held: usize,
    reserved: usize,
}

enum Head {
    Leaf(Value),
    Bulk(usize),
    Array(usize),
}

impl<'a, S: AsyncRead + Unpin> Reader<'a, S> {
    pub(crate) fn new(stream: &'a mut S) -> Reader<'a, S> {
        Reader {
            stream,
            buf: Vec::new(),
            pos: 0,
            left: 0,
            elements: ELEMENTS_MAX,
            heard: false,
            held: 0,
            reserved: 0,
        }
    }

    /// Whether any byte was received.
    pub(crate) fn heard(&self) -> bool {
        self.heard
    }

    /// Whether bytes were received that nobody asked for.
    pub(crate) fn has_surplus(&self) -> bool {
        self.pos < self.buf.len()
    }

    /// Reads one reply of at most `budget` bytes.
    pub(crate) async fn reply(&mut self, budget: usize) -> Result<Value, Fault> {
        self.left = budget;
        let mut open: Vec<(usize, Vec<Value>)> = Vec::new();
        loop {
            let mut value = match self.head().await? {
                Head::Leaf(value) => value,
                Head::Bulk(len) => Value::BulkString(self.bulk(len).await?),
                Head::Array(0) => Value::Array(Vec::new()),
                Head::Array(len) => {
                    self.descend(len, open.len())?;
                    open.push((len, Vec::with_capacity(len.min(64))));
                    continue;
                }
            };
            loop {
                let Some((missing, items)) = open.last_mut() else { return Ok(value) };
                items.push(value);
                *missing -= 1;
                if *missing > 0 {
                    break;
                }
                let (_, items) = open.pop().expect("it was there a line ago");
                value = Value::Array(items);
            }
        }
    }

    fn descend(&mut self, len: usize, depth: usize) -> Result<(), Fault> {
        if depth >= DEPTH_MAX {
            return Err(Fault::TooLarge("reply nested deeper than 32 levels"));
        }
        self.elements = self
            .elements
            .checked_sub(len)
            .ok_or(Fault::TooLarge("replies of more than 100000 elements"))?;
        Ok(())
    }

    async fn head(&mut self) -> Result<Head, Fault> {
        let (kind, start, end) = self.line().await?;
        let text = &self.buf[start..end];
        match kind {
            b'+' if text == b"OK" => Ok(Head::Leaf(Value::Okay)),
            b'+' => Ok(Head::Leaf(Value::SimpleString(String::from_utf8_lossy(text).into_owned()))),
            b'-' => Ok(Head::Leaf(error_value(text))),
            b':' => Ok(Head::Leaf(Value::Int(integer(text)?))),
            b'$' | b'*' => match (kind, integer(text)?) {
                (_, -1) => Ok(Head::Leaf(Value::Nil)),
                (_, ..0) => Err(Fault::Protocol("negative length")),
                (b'$', len) => Ok(Head::Bulk(usize::try_from(len).unwrap_or(usize::MAX))),
                (_, len) => Ok(Head::Array(usize::try_from(len).unwrap_or(usize::MAX))),
            },
            _ => Err(Fault::Protocol("not a RESP2 reply")),
        }
    }

    /// Consumes one line; answers its type byte and the place of its text in `buf`.
    async fn line(&mut self) -> Result<(u8, usize, usize), Fault> {
        let mut scanned = 0;
        let end = loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buf[self.pos + scanned..]) {
                break self.pos + scanned + at;
            }
            scanned = self.buf.len() - self.pos;
            if scanned >= LINE_MAX {
                return Err(LINE_TOO_LONG);
            }
            self.fill().await?;
        };
        let start = self.pos;
        // Also when its end came together with its beginning: how a reply is cut decides nothing.
        if end - start >= LINE_MAX {
            return Err(LINE_TOO_LONG);
        }
        if end < start + 2 || self.buf[end - 1] != b'\r' {
            return Err(Fault::Protocol("line without CR LF"));
        }
        self.spend(end + 1 - start)?;
        // Arrays double as they grow, so an element may cost twice its size.
        self.hold(2 * size_of::<Value>() + end - start)?;
        self.pos = end + 1;
        Ok((self.buf[start], start + 1, end - 1))
    }

    async fn bulk(&mut self, len: usize) -> Result<Vec<u8>, Fault> {
        let whole = len.saturating_add(2);
        self.spend(whole)?;
        let have = whole.min(self.buf.len() - self.pos);
        let room = whole.min(have.max(BULK_STEP));
        self.hold(room)?;
        let mut out = Vec::with_capacity(room);
        out.extend_from_slice(&self.buf[self.pos..self.pos + have]);
        self.pos += have;
        while out.len() < whole {
            let missing = whole - out.len();
            if out.len() == out.capacity() {
                let more = missing.min(out.len().max(BULK_STEP));
                self.hold(more)?;
                out.reserve_exact(more);
            }
            let mut limited = (&mut *self.stream).take(missing as u64);
            match limited.read_buf(&mut out).await.map_err(Fault::Io)? {
                0 => return Err(Fault::Closed),
                _ => self.heard = true,
            }
        }
        if !out.ends_with(b"\r\n") {
            return Err(Fault::Protocol("bulk string without CR LF"));
        }
        out.truncate(len);
        Ok(out)
    }

    async fn fill(&mut self) -> Result<(), Fault> {
        if self.pos > 0 {
            self.buf.drain(..self.pos);
            self.pos = 0;
        }
        self.buf.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.buf).await.map_err(Fault::Io)? {
            0 => Err(Fault::Closed),
            _ => {
                self.heard = true;
                Ok(())
            }
        }
    }

    /// Counts memory that this exchange holds from now on.
    fn hold(&mut self, bytes: usize) -> Result<(), Fault> {
        self.held += bytes;
        while self.held > FREE_BYTES + self.reserved {
            let taken = SHARED_HELD.fetch_add(SHARED_STEP, Ordering::Relaxed) + SHARED_STEP;
            self.reserved += SHARED_STEP;
            if taken > SHARED_BYTES {
                return Err(Fault::TooLarge("too many large replies at once"));
            }
        }
        Ok(())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Fault> {
        self.left =
            self.left.checked_sub(bytes).ok_or(Fault::TooLarge("reply above its byte budget"))?;
        Ok(())
    }
}

impl Reader<'_, &[u8]> {
    fn is_at_end(&self) -> bool {
        self.pos == self.buf.len() && self.stream.is_empty()
    }
}

/// Reads replies that lie in memory, each of at most `budget` bytes, to their end.
pub(crate) fn read_all(mut raw: &[u8], budget: usize) -> Result<Vec<Value>, Fault> {
    let mut reader = Reader::new(&mut raw);
    let mut replies = Vec::new();
    while !reader.is_at_end() {
        let reply = reader.reply(budget).now_or_never().expect("memory is always ready");
        replies.push(reply?);
    }
    Ok(replies)
}

impl<S> Drop for Reader<'_, S> {
    fn drop(&mut self) {
        SHARED_HELD.fetch_sub(self.reserved, Ordering::Relaxed);
    }
}

fn integer(text: &[u8]) -> Result<i64, Fault> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|t| t.parse().ok())
        .ok_or(Fault::Protocol("not an integer"))
}

/// The client library's own parser makes the error value: it has no public constructor.
fn error_value(text: &[u8]) -> Value {
    let line = format!("-{}\r\n", String::from_utf8_lossy(text).replace(['\r', '\n'], " "));
    redis::parse_redis_value(line.as_bytes()).unwrap_or(Value::Nil)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use proptest::prelude::*;
    use tokio::io::ReadBuf;

    use super::*;

    /// A stream that hands out a few bytes at a time and is always ready.
    struct Drip<'a>(&'a [u8], usize);

    impl AsyncRead for Drip<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            let n = self.1.min(self.0.len()).min(buf.remaining());
            let (now, later) = self.0.split_at(n);
            buf.put_slice(now);
            self.0 = later;
            Poll::Ready(Ok(()))
        }
    }

    fn read(raw: &[u8], step: usize, budget: usize) -> Result<Value, Fault> {
        let mut stream = Drip(raw, step);
        let mut reader = Reader::new(&mut stream);
        reader.reply(budget).now_or_never().expect("a drip is always ready")
    }

    fn pack(value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::Nil => out.extend_from_slice(b"$-1\r\n"),
            Value::Int(i) => out.extend_from_slice(format!(":{i}\r\n").as_bytes()),
            Value::BulkString(b) => {
                out.extend_from_slice(format!("${}\r\n", b.len()).as_bytes());
                out.extend_from_slice(b);
                out.extend_from_slice(b"\r\n");
            }
            Value::SimpleString(s) => out.extend_from_slice(format!("+{s}\r\n").as_bytes()),
            Value::Array(items) => {
                out.extend_from_slice(format!("*{}\r\n", items.len()).as_bytes());
                items.iter().for_each(|item| pack(item, out));
            }
            other => panic!("{other:?} is not RESP2"),
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<i64>().prop_map(Value::Int),
            proptest::collection::vec(any::<u8>(), 0..200).prop_map(Value::BulkString),
            "[a-zA-Z ]{3,20}".prop_map(Value::SimpleString),
        ];
        leaf.prop_recursive(5, 60, 8, |inner| {
            proptest::collection::vec(inner, 0..8).prop_map(Value::Array)
        })
    }

    /// Bytes that are nearly a reply: a reply with a few bytes changed.
    fn nearly_a_reply() -> impl Strategy<Value = Vec<u8>> {
        let flips =
            proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3);
        (any_value(), flips).prop_map(|(value, flips)| {
            let mut raw = Vec::new();
            pack(&value, &mut raw);
            for (at, to) in flips {
                let at = at.index(raw.len());
                raw[at] = to;
            }
            raw
        })
    }

    proptest! {
        #[test]
        fn how_bytes_arrive_changes_nothing_of_what_they_say(
            raw in nearly_a_reply(), step in 1..50usize, budget in 1..2000usize
        ) {
            let (slow, fast) = (read(&raw, step, budget), read(&raw, usize::MAX, budget));
            prop_assert_eq!(format!("{slow:?}"), format!("{fast:?}"));
        }

        #[test]
        fn any_reply_is_read_whole_however_it_is_cut(value in any_value(), step in 1..50usize) {
            let mut raw = Vec::new();
            pack(&value, &mut raw);
            prop_assert_eq!(read(&raw, step, 1 << 20).unwrap(), value);
        }

        #[test]
        fn a_cut_reply_is_closed_and_never_a_shorter_one(value in any_value(), cut in 0.0..1.0f64) {
            let mut raw = Vec::new();
            pack(&value, &mut raw);
            let end = (raw.len() as f64 * cut) as usize;
            prop_assert!(matches!(read(&raw[..end], 7, 1 << 20), Err(Fault::Closed)));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&raw, 11, 4096);
        }

        #[test]
        fn right_looking_bytes_do_not_either(raw in "([*$:+-][0-9-]{0,6}\r\n){0,20}") {
            let _ = read(raw.as_bytes(), 5, 4096);
        }
    }

    #[test]
    fn what_the_client_library_reads_is_read_the_same() {
        for raw in
            ["+OK\r\n", "-ERR a b\r\n", "-NOAUTH\r\n", "-LOADING x\r\n", "$-1\r\n", "*-1\r\n"]
        {
            let theirs = redis::parse_redis_value(raw.as_bytes()).unwrap();
            assert_eq!(read(raw.as_bytes(), 3, 100).unwrap(), theirs, "{raw:?}");
        }
    }

    #[test]
    fn claimed_lengths_cost_nothing_and_budgets_end_a_reply() {
        let too_large =
            |raw: &[u8], budget| matches!(read(raw, 4096, budget), Err(Fault::TooLarge(_)));
        assert!(too_large(b"$999999999999\r\n", 1 << 20));
        assert!(too_large(b"*100001\r\n", 1 << 20));
        assert!(too_large("*1\r\n".repeat(33).as_bytes(), 1 << 20));
        assert!(too_large(b"$10\r\n0123456789\r\n", 16));
        assert!(too_large(&[b'+'; 70_000], 1 << 20));
        // Within the budget, but the bytes never come: nothing is set aside for them.
        assert!(matches!(read(b"$1000000\r\nabc", 3, 1 << 20), Err(Fault::Closed)));
    }

    /// Reads `raw` in one piece and in small ones; both must end alike.
    fn ends(raw: &[u8], budget: usize) -> bool {
        let (fast, slow) = (read(raw, usize::MAX, budget), read(raw, 1000, budget));
        match (&fast, &slow) {
            (Ok(a), Ok(b)) => assert_eq!(a, b),
            (Err(Fault::TooLarge(a)), Err(Fault::TooLarge(b))) => assert_eq!(a, b),
            other => panic!("{other:?}"),
        }
        fast.is_ok()
    }

    #[test]
    fn a_bulk_string_may_fill_its_budget_to_the_last_byte() {
        use crate::pipeline::{INFO_BYTES_MAX, REPLY_BYTES_MAX};
        for budget in [INFO_BYTES_MAX, REPLY_BYTES_MAX] {
            let reply = |len: usize| format!("${len}\r\n{}\r\n", "x".repeat(len));
            let frame = reply(budget).len() - budget;
            assert_eq!(reply(budget - frame).len(), budget);
            assert!(ends(reply(budget - frame).as_bytes(), budget));
            assert!(!ends(reply(budget - frame + 1).as_bytes(), budget));
        }
    }

    #[test]
    fn an_array_may_have_32_levels_and_no_more() {
        let nested = |levels: usize| format!("{}:1\r\n", "*1\r\n".repeat(levels));
        assert!(ends(nested(32).as_bytes(), 1000));
        assert!(!ends(nested(33).as_bytes(), 1000));
    }

    #[test]
    fn replies_may_have_100_000_elements_and_no_more() {
        let flat = |n: usize| format!("*{n}\r\n{}", ":1\r\n".repeat(n));
        assert!(ends(flat(100_000).as_bytes(), 1 << 20));
        assert!(!ends(flat(100_001).as_bytes(), 1 << 20));
        // Inner arrays are elements too.
        let nested = |n: usize| format!("*{n}\r\n{}", "*1\r\n:1\r\n".repeat(n));
        assert!(ends(nested(50_000).as_bytes(), 1 << 20));
        assert!(!ends(nested(50_001).as_bytes(), 1 << 20));
    }

    #[test]
    fn a_line_may_have_64_kib_and_no_more() {
        let line = |len: usize| format!("+{}\r\n", "x".repeat(len - 3));
        assert!(ends(line(64 << 10).as_bytes(), 1 << 20));
        assert!(!ends(line((64 << 10) + 1).as_bytes(), 1 << 20));
    }

    #[test]
    fn replies_in_memory_are_read_to_their_end_or_not_at_all() {
        let good = read_all(b"+OK\r\n*1\r\n:1\r\n", 100).unwrap();
        assert_eq!(good, [Value::Okay, Value::Array(vec![Value::Int(1)])]);
        assert!(read_all(b"", 100).unwrap().is_empty());
        assert!(matches!(read_all(b"+OK\r\n*1\r\n", 100), Err(Fault::Closed)));
    }

    #[test]
    fn what_is_not_resp2_is_refused() {
        for raw in
            ["HTTP/1.1 200 OK\r\n", "%1\r\n", ":x\r\n", "$-2\r\n", "+a\n", "\r\n", "$3\r\nabcd\r\n"]
        {
            assert!(matches!(read(raw.as_bytes(), 64, 1000), Err(Fault::Protocol(_))), "{raw:?}");
        }
    }

    #[test]
    fn elements_of_all_replies_are_counted_together() {
        let one = format!("*60000\r\n{}", ":1\r\n".repeat(60_000));
        let both = [one.as_bytes(), one.as_bytes()].concat();
        let mut stream = both.as_slice();
        let mut reader = Reader::new(&mut stream);
        assert!(reader.reply(1 << 20).now_or_never().unwrap().is_ok());
        let second = reader.reply(1 << 20).now_or_never().unwrap();
        assert!(matches!(second, Err(Fault::TooLarge(_))));
    }
}
