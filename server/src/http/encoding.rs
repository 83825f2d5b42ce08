//! Which encoding an answer has: what the reader asks for, of what we have; plain by default.
//!
//! Invariant: an encoding is used only when it was offered with a quality above 0.

use axum::http::{HeaderMap, header};
use exporter::encode;

/// An encoding of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As it is.
    Identity,
    /// gzip, level 1.
    Gzip,
    /// zstd, level 1.
    #[cfg(feature = "zstd")]
    Zstd,
}

impl Encoding {
    /// The best of what `Accept-Encoding` offers: zstd is a third of gzip's work.
    pub(super) fn of(headers: &HeaderMap) -> Encoding {
        let text = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok());
        let offered = |wanted: &str| text.unwrap_or_default().split(',').any(|o| offers(o, wanted));
        #[cfg(feature = "zstd")]
        if offered("zstd") {
            return Encoding::Zstd;
        }
        if offered("gzip") { Encoding::Gzip } else { Encoding::Identity }
    }

    /// The value of `Content-Encoding`; none for a page as it is.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Encoding::Identity => None,
            Encoding::Gzip => Some("gzip"),
            #[cfg(feature = "zstd")]
            Encoding::Zstd => Some("zstd"),
        }
    }

    /// The page in this encoding.
    pub(super) fn pack(self, page: Vec<u8>) -> Vec<u8> {
        match self {
            Encoding::Identity => page,
            Encoding::Gzip => encode::gzip(&page),
            #[cfg(feature = "zstd")]
            Encoding::Zstd => encode::zstd(&page),
        }
    }
}

fn offers(offer: &str, wanted: &str) -> bool {
    let (name, quality) = offer.split_once(';').unwrap_or((offer, ""));
    let quality = quality.trim().strip_prefix("q=").map_or(Ok(1.0), |q| q.trim().parse::<f32>());
    name.trim().eq_ignore_ascii_case(wanted) && quality.is_ok_and(|q| q > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_offered_with_a_quality_is_used() {
        for (offer, wanted) in [
            ("", Encoding::Identity),
            ("identity", Encoding::Identity),
            ("gzip", Encoding::Gzip),
            ("deflate, GZIP;q=0.5", Encoding::Gzip),
            ("gzip;q=0", Encoding::Identity),
            ("gzip; q=0.000", Encoding::Identity),
            ("gzip;q=x", Encoding::Identity),
            ("br,gzipped", Encoding::Identity),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, offer.parse().unwrap());
            assert_eq!(Encoding::of(&headers), wanted, "{offer}");
        }
        assert_eq!(Encoding::of(&HeaderMap::new()), Encoding::Identity);
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn zstd_is_preferred_where_it_is_built_in() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, "gzip, zstd".parse().unwrap());
        assert_eq!(Encoding::of(&headers).name(), Some("zstd"));
    }
}
