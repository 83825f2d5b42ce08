//! What a store method can answer instead of its value; each variant is something a caller does
//! differently.

use model::caller::Denied;

/// Why a store method did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A right is missing: 403, or 404 when the object is not visible either.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// No such row in the caller's scope: 404.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The revision moved: 409 with the present value.
    #[error("{what} is at revision {present} by now")]
    Moved {
        /// Object.
        what: String,
        /// Present revision.
        present: i64,
    },
    /// A unique rule says no: 409.
    #[error("{0}")]
    Conflict(String),
    /// Nobody decides about what he asked for himself: 403.
    #[error("{0}")]
    OwnRequest(String),
    /// The value itself is wrong: 422.
    #[error("{0}")]
    Invalid(String),
    /// The state cannot be written or read now; nothing is known to have changed: 503, retry.
    #[error("the store is not available: {0}")]
    NotWritable(String),
    /// The wrapping key is missing or wrong: 503 until it is there.
    #[error("sealed: {0}")]
    Sealed(String),
    /// Our fault, or a damaged database: 500.
    #[error("store: {0}")]
    Internal(String),
}

impl From<sqlx::Error> for Error {
    fn from(e: sqlx::Error) -> Error {
        use sqlx::Error as E;
        match &e {
            E::Io(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Tls(_) => {
                Error::NotWritable(e.to_string())
            }
            E::Database(db) if db.is_unique_violation() => Error::Conflict(db.message().into()),
            E::Database(db) if is_outage(db.code().as_deref(), db.message()) => {
                Error::NotWritable(db.message().into())
            }
            E::Database(db) if is_content(db.code().as_deref()) => {
                Error::Invalid(db.message().into())
            }
            _ => Error::Internal(e.to_string()),
        }
    }
}

/// SQLite: BUSY 5, LOCKED 6, READONLY 8, IOERR 10, FULL 13, CANTOPEN 14 (extended codes carry them
/// in the low byte). PostgreSQL: class 08 connection, 25006 read-only, 53 resources (53100 disk
/// full), 57P shutdown, 40 serialisation.
fn is_outage(code: Option<&str>, message: &str) -> bool {
    let code = code.unwrap_or_default();
    if let Ok(n) = code.parse::<u32>()
        && code.len() < 5
    {
        return matches!(n & 0xff, 5 | 6 | 8 | 10 | 13 | 14);
    }
    code.starts_with("08")
        || code.starts_with("53")
        || code.starts_with("57P")
        || code.starts_with("40")
        || code == "25006"
        || message.contains("disk is full")
}

/// The database will never take this value, however often it is offered. SQLite: TOOBIG 18, MISMATCH
/// 20, and of CONSTRAINT a check 275, NOT NULL 1299, a trigger's refusal 1811. PostgreSQL: class 22
/// data (22021: a NUL in text), 54 limits, 23502 NOT NULL, 23514 check, P0001 a trigger's refusal.
fn is_content(code: Option<&str>) -> bool {
    let code = code.unwrap_or_default();
    matches!(code, "18" | "20" | "275" | "1299" | "1811" | "23502" | "23514" | "P0001")
        || code.len() == 5 && (code.starts_with("22") || code.starts_with("54"))
}

impl Error {
    /// Whether what was written is at fault, and not the store: the same again has the same end,
    /// and everything else can still be written.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Error::Invalid(_) | Error::Conflict(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_never_taken_for_a_fault_of_the_content() {
        for code in ["5", "6", "8", "10", "13", "14", "1555", "40001", "57P01", "53100", "25006"] {
            assert!(!is_content(Some(code)), "{code}");
        }
        // A damaged file, a missing table, a missing right: nobody's content is at fault.
        for code in ["11", "26", "1", "42P01", "42501"] {
            assert!(!is_content(Some(code)) && !is_outage(Some(code), ""), "{code}");
        }
        for code in ["22021", "22003", "23514", "54000", "1811", "18"] {
            assert!(is_content(Some(code)) && !is_outage(Some(code), ""), "{code}");
        }
    }
}
