//! Errors as problem documents: one code, one status, one next step.
//!
//! Invariant: what a caller may not see is answered like what does not exist; the cause of a fault
//! of ours is logged under the request id and not told.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::caller::Denied;
use model::code::{Code, Problem};
use model::refusal::Refusal;
use store::Error;

use super::near::near;

/// Whom to ask, in every refusal for a missing right.
const WHO_GRANTS: &str = "A security administrator can grant a role that holds it.";

/// A store's refusal.
pub fn of_store(e: Error) -> Problem {
    match e {
        Error::Denied(d) => of_denied(&d),
        Error::NotFound(what) => not_found(&what),
        Error::Moved { what, present } => Problem::new(
            Code::Moved,
            format!("{what} is at revision {present} by now"),
            "Read it again and repeat the change.",
        ),
        Error::Conflict(text) => {
            Problem::new(Code::Moved, text, "Look at what is there and decide again.")
        }
        Error::OwnRequest(text) => {
            Problem::new(Code::NotYours, text, "Ask another person with the right.")
        }
        Error::Invalid(text) => {
            Problem::new(Code::Invalid, text, "Correct what is named and send it again.")
        }
        Error::NotWritable(text) => {
            tracing::warn!(cause = %text, "the store is not available");
            Problem::new(
                Code::NotWritable,
                "the store cannot be written or read at this moment; nothing is known to have changed",
                "Try again in some seconds; an administrator finds the cause in the log.",
            )
        }
        Error::Sealed(_) => Problem::new(
            Code::Sealed,
            "the key that wraps the secrets is missing or wrong",
            "An administrator puts the key where [store] says.",
        ),
        Error::Internal(text) => {
            tracing::error!(cause = %text, "fault of the store");
            fault()
        }
    }
}

/// A missing right: 403 where the object may be seen, else 404.
pub fn of_denied(d: &Denied) -> Problem {
    if !d.visible {
        return not_found(&format!("anything of yours in {}", d.scope));
    }
    Problem::new(
        Code::RightMissing,
        format!("the right {} is missing for {}", d.right, d.scope),
        WHO_GRANTS,
    )
}

/// No such thing.
pub fn not_found(what: &str) -> Problem {
    Problem::new(
        Code::NotFound,
        format!("there is no {what} in your scope"),
        "Check the id; the lists show what you may see.",
    )
}

/// No such thing, with what he may have meant out of `seen`: names in his own sight.
pub fn not_found_near<'n>(what: &str, name: &str, seen: impl Iterator<Item = &'n str>) -> Problem {
    let shown: String = name.chars().take(120).collect();
    let mut p = not_found(&format!("{what} {shown}"));
    let near = near(name, seen);
    if !near.is_empty() {
        p.next = format!("Did you mean {}?", near.join(", "));
    }
    p
}

/// A guard's refusal, with itself inside.
pub fn of_refusal(refusal: &Refusal) -> Problem {
    let mut p = Problem::new(
        Code::Refused,
        refusal.to_string(),
        "Remove the cause named, then make the plan again.",
    );
    p.errors.push(serde_json::to_value(refusal).unwrap_or_default());
    p
}

/// Our fault; the cause is in the log.
pub fn fault() -> Problem {
    Problem::new(
        Code::Fault,
        "something went wrong on our side",
        "Tell the operators of this installation the request id.",
    )
}

/// As JSON.
pub fn json(problem: &Problem) -> Response {
    let status = status(problem);
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let kind = HeaderValue::from_static("application/problem+json");
    let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
    retry_after(problem, &mut response);
    response
}

/// Its status.
pub fn status(problem: &Problem) -> StatusCode {
    StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Says when to come again where that is known: senders of alerts wait for it.
pub fn retry_after(problem: &Problem, response: &mut Response) {
    let told = problem.errors.iter().find_map(|e| e["retry_after_s"].as_i64());
    let seconds = match problem.status {
        429 | 503 => told.unwrap_or(5),
        _ => return,
    };
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_seen_is_answered_as_if_it_did_not_exist() {
        let denied =
            |visible| Denied { right: "op.disrupt", scope: "service:pay.cart".into(), visible };
        assert_eq!(of_denied(&denied(false)).status, 404);
        let told = of_denied(&denied(true));
        assert_eq!(told.status, 403);
        assert!(told.detail.contains("op.disrupt") && told.detail.contains("service:pay.cart"));
    }

    #[test]
    fn the_cause_of_our_fault_is_not_told() {
        let p = of_store(Error::Internal("no such table: account".into()));
        assert!(!p.detail.contains("account"), "{}", p.detail);
    }

    #[test]
    fn a_busy_or_absent_store_says_when_to_come_again() {
        let response = json(&of_store(Error::NotWritable("disk".into())));
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key(header::RETRY_AFTER));
    }
}
