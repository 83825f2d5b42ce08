//! Pages in Prometheus' text format 0.0.4 and in OpenMetrics 1.0.
//!
//! Invariant: one writer escapes, cuts and counts; limits hold whatever a server said.

mod derived;
mod detail;
mod fleet;
mod head;
mod items;
mod list;
mod optional;
mod outlook;
mod scrape;
mod writer;

pub use fleet::{CertificateEnd, DriftPoint, FleetPage, RemovedInstance, ThresholdPoint, fleet};
pub use outlook::{CapacityPoint, SloPoint};
pub use scrape::{page, scrape};

use std::io::Write as _;

use link::reply::info::Folds;

use crate::config::Profile;

/// Series of one instance on its page, at most; a full page of a busy real server has 700.
pub const SERIES_MAX: u32 = 2000;
/// Label values of one family and instance, at most; the rest is summed.
pub const VALUES_MAX: usize = 128;
/// Longest label value, bytes; the parsers cut to the same.
pub const LABEL_MAX: usize = link::reply::TEXT_MAX;
/// Commands shown in the lean profile: its page has 150 series, and each command makes two.
const LEAN_COMMANDS_MAX: usize = 15;

/// Which commands and errors of one instance have series: in the lean profile the largest commands,
/// and the errors Redis itself writes.
pub(crate) fn folds(profile: Profile) -> Folds {
    match profile {
        Profile::Lean => Folds::new(LEAN_COMMANDS_MAX, 0),
        Profile::Full => Folds::default(),
    }
}

/// Which text a page is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`.
    Text,
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
}

impl Format {
    /// What an `Accept` header asks for; text unless OpenMetrics is wanted at least as much.
    pub fn from_accept(accept: &str) -> Format {
        let (mut open, mut plain) = (0.0, 0.0);
        for offer in accept.split(',') {
            let mut parts = offer.split(';').map(str::trim);
            let kind = parts.next().unwrap_or("");
            let (mut quality, mut known) = (1.0, true);
            for part in parts {
                match part.split_once('=') {
                    Some(("q", q)) => quality = q.parse().unwrap_or(0.0),
                    Some(("version", v)) if kind == "application/openmetrics-text" => {
                        known = v == "1.0.0" || v == "0.0.1";
                    }
                    _ => {}
                }
            }
            match kind {
                "application/openmetrics-text" if known => open = f64::max(open, quality),
                "text/plain" | "text/*" | "*/*" => plain = f64::max(plain, quality),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain { Format::OpenMetrics } else { Format::Text }
    }

    /// The `Content-Type` of a page.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A rendered page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub body: Vec<u8>,
    /// Series in it.
    pub series: u32,
    /// Series left out because the page was full.
    pub dropped_limit: u32,
    /// Series summed into `__overflow__` or left out because a family was full.
    pub dropped_values: u32,
}

/// The page, compressed with gzip level 1: compressing once per generation must stay cheaper than
/// sending it.
pub fn gzip(page: &[u8]) -> Vec<u8> {
    let room = Vec::with_capacity(page.len() / 6 + 64);
    let mut encoder = flate2::write::GzEncoder::new(room, flate2::Compression::new(1));
    encoder.write_all(page).expect("writing to memory cannot fail");
    encoder.finish().expect("writing to memory cannot fail")
}

/// The page, compressed with zstd level 1: a third of gzip's work, a little smaller.
#[cfg(feature = "zstd")]
pub fn zstd(page: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(page, 1).expect("writing to memory cannot fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_spoken_only_to_those_who_ask_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.8,\
                          application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::from_accept(prometheus), Format::OpenMetrics);
        for text in [
            "",
            "*/*",
            "text/plain",
            "application/json",
            "text/html,*/*;q=0.8",
            "application/openmetrics-text;version=9.0.0",
            "application/openmetrics-text;q=0",
            "text/plain;q=0.9,application/openmetrics-text;q=0.5",
            "q=;;,=,",
            "\u{0}",
        ] {
            assert_eq!(Format::from_accept(text), Format::Text, "{text}");
        }
    }

    #[test]
    fn a_compressed_page_is_the_same_page() {
        use std::io::Read as _;
        let page = b"redis_up 1\n".repeat(1000);
        let small = gzip(&page);
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(small.as_slice()).read_to_end(&mut back).unwrap();
        assert!(back == page && small.len() < page.len() / 10);
    }
}
