//! The files every page needs besides its HTML: one style sheet, one icon.
//!
//! Invariant: an immutable asset has its content's hash in its name. Refuses to know the disk:
//! everything is in the binary.

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// An embedded file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// Content, not compressed.
    pub bytes: &'static [u8],
    /// Value of `Content-Type`.
    pub content_type: &'static str,
    /// The name changes with the content, so it may be cached without end.
    pub immutable: bool,
}

/// The asset at `path` (as in the URL, with its leading slash); `None` for every other path.
pub fn asset(path: &str) -> Option<Asset> {
    match path {
        CSS_PATH => {
            Some(Asset { bytes: CSS, content_type: "text/css; charset=utf-8", immutable: true })
        }
        "/favicon.ico" | "/favicon.svg" => {
            Some(Asset { bytes: ICON, content_type: "image/svg+xml", immutable: false })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_sheet_is_found_under_its_hashed_name_only() {
        assert!(asset(CSS_PATH).is_some_and(|a| a.immutable && !a.bytes.is_empty()));
        assert_eq!(asset("/assets/app.css"), None);
        assert_eq!(asset("/assets/../Cargo.toml"), None);
    }
}
