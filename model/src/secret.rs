//! A value that must not be seen: no Debug, no Display, no Serialize, zeroed when dropped.

use zeroize::Zeroizing;

/// A secret text in memory.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text.
    pub fn new(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }
    /// The text, for the one call that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}
