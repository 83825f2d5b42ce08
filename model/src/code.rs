//! Error codes of the API (`tenancy.md` section 7) and the problem document that carries them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

macro_rules! codes {
    ($($v:ident = $code:literal, $status:literal, $title:literal;)*) => {
        /// A code: its number never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "each is documented by its title")]
        pub enum Code { $($v,)* }
        impl Code {
            /// All codes.
            pub const ALL: &'static [Code] = &[$(Code::$v,)*];
            /// `CW-1401`.
            pub fn as_str(self) -> &'static str { match self { $(Code::$v => $code,)* } }
            /// HTTP status.
            pub fn status(self) -> u16 { match self { $(Code::$v => $status,)* } }
            /// Short title, English.
            pub fn title(self) -> &'static str { match self { $(Code::$v => $title,)* } }
        }
    };
}

codes! {
    Malformed = "CW-1000", 400, "malformed request";
    Invalid = "CW-1001", 422, "a field is invalid";
    TooLarge = "CW-1002", 413, "body too large";
    WrongType = "CW-1003", 415, "wrong content type";
    NotSignedIn = "CW-1100", 401, "not signed in";
    WrongCredentials = "CW-1101", 401, "wrong credentials";
    SecondFactor = "CW-1102", 401, "second factor needed";
    TooManyTries = "CW-1103", 429, "too many tries";
    RightMissing = "CW-1200", 403, "right missing";
    OriginCheck = "CW-1201", 403, "origin or session token check failed";
    NotYours = "CW-1202", 403, "not your own request";
    SecondPerson = "CW-1203", 403, "second person needed";
    NotFound = "CW-1300", 404, "no such thing in your scope";
    NoHistory = "CW-1301", 404, "no history for that time";
    Moved = "CW-1400", 409, "revision moved";
    PlanMoved = "CW-1401", 409, "plan moved";
    Refused = "CW-1402", 409, "refused by a guard";
    KeyReused = "CW-1403", 409, "idempotency key reused";
    Held = "CW-1404", 409, "held by another operation";
    Quota = "CW-1405", 409, "quota";
    Confirmation = "CW-1410", 422, "typed confirmation wrong";
    IfMatchMissing = "CW-1411", 428, "If-Match missing";
    Fault = "CW-1500", 500, "our fault";
    NotWritable = "CW-1501", 503, "audit or store not writable";
    OverCapacity = "CW-1502", 503, "over capacity";
    CmdbAway = "CW-1503", 503, "CMDB away";
    Sealed = "CW-1504", 503, "sealed";
}

/// RFC 9457 problem document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// `/docs/errors/CW-1401`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Short title.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened, in one or two sentences.
    pub detail: String,
    /// `CW-1401`.
    pub code: String,
    /// Of the request.
    pub request_id: String,
    /// What to do next.
    pub next: String,
    /// Fields at fault: `{pointer, detail}`; or the new plan, the refusal.
    pub errors: Vec<Value>,
}

impl Problem {
    /// A problem of `code`.
    pub fn new(code: Code, detail: impl Into<String>, next: impl Into<String>) -> Problem {
        Problem {
            kind: format!("/docs/errors/{}", code.as_str()),
            title: code.title().into(),
            status: code.status(),
            detail: detail.into(),
            code: code.as_str().into(),
            request_id: String::new(),
            next: next.into(),
            errors: Vec::new(),
        }
    }
}
