//! The floor: the least any exporter must do. Kept connections, one pipelined write per target with
//! the commands of our 15 s tier, replies read to their end, INFO rendered to text and thrown away.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

const COMMANDS: &[&[&str]] = &[
    &["PING"],
    &["INFO", "default", "commandstats", "errorstats"],
    &["SLOWLOG", "LEN"],
    &["SLOWLOG", "GET", "1"],
    &["LATENCY", "LATEST"],
    &["ROLE"],
];

/// Polls every target once an interval, each on its own phase, until killed.
pub async fn run(targets: Vec<String>, interval: Duration) {
    let mut packed = Vec::new();
    for command in COMMANDS {
        packed.extend(format!("*{}\r\n", command.len()).into_bytes());
        for part in *command {
            packed.extend(format!("${}\r\n{part}\r\n", part.len()).into_bytes());
        }
    }
    let packed: &'static [u8] = packed.leak();
    let start = Instant::now();
    let count = targets.len() as u32;
    let mut tasks = tokio::task::JoinSet::new();
    for (i, target) in targets.into_iter().enumerate() {
        let phase = interval * i as u32 / count;
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(&target).await.expect("the bench's Redis listens");
            stream.set_nodelay(true).expect("loopback");
            let mut next = start + phase;
            let mut buffer = Vec::with_capacity(32 * 1024);
            let mut page = String::with_capacity(32 * 1024);
            loop {
                sleep_until(next).await;
                next += interval;
                stream.write_all(packed).await.expect("the bench's Redis reads");
                buffer.clear();
                while complete(&buffer) < COMMANDS.len() {
                    let n = stream.read_buf(&mut buffer).await.expect("the bench's Redis writes");
                    assert!(n > 0, "closed");
                }
                page.clear();
                render(&buffer, &mut page);
                std::hint::black_box(&page);
            }
        });
    }
    tasks.join_all().await;
}

/// How many whole replies stand at the start of `bytes`.
fn complete(bytes: &[u8]) -> usize {
    let mut at = 0;
    let mut replies = 0;
    while let Some(end) = skip(bytes, at) {
        at = end;
        replies += 1;
    }
    replies
}

fn skip(bytes: &[u8], at: usize) -> Option<usize> {
    let line_end = at + bytes.get(at..)?.windows(2).position(|w| w == b"\r\n")?;
    let number = || std::str::from_utf8(&bytes[at + 1..line_end]).ok()?.parse::<i64>().ok();
    let after = line_end + 2;
    match bytes[at] {
        b'$' if number()? < 0 => Some(after),
        b'$' => {
            let end = after + number()? as usize + 2;
            (bytes.len() >= end).then_some(end)
        }
        b'*' => (0..number()?.max(0)).try_fold(after, |at, _| skip(bytes, at)),
        _ => Some(after),
    }
}

fn render(bytes: &[u8], page: &mut String) {
    for line in bytes.split(|b| *b == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let Some((name, value)) = line.trim_end().split_once(':') else { continue };
        if let Ok(value) = value.parse::<f64>() {
            page.push_str("redis_");
            page.push_str(name);
            page.push(' ');
            page.push_str(&value.to_string());
            page.push('\n');
        }
    }
}
