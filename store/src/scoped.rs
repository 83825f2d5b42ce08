//! The condition that keeps a list inside what its caller may see.
//!
//! Invariant: built from the caller's own grants, bound as values, never spliced as text; no grant
//! means a condition that is false. For tables with the columns tenant, system and service.

use model::caller::Caller;
use model::right::{Right, Scope};

/// A condition with its values; placeholders count from `first`.
pub(crate) struct Scoped {
    /// `(tenant = $3 OR service = $4)`.
    pub(crate) sql: String,
    /// Values in order.
    pub(crate) binds: Vec<String>,
}

/// Rows in which `caller` has `right`.
pub(crate) fn scoped(caller: &Caller, right: Right, first: usize) -> Scoped {
    scoped_by(caller, right, first, ["tenant", "system", "service"])
}

/// The same where the columns for tenant, system and service are called otherwise: in a join.
pub(crate) fn scoped_by(
    caller: &Caller,
    right: Right,
    first: usize,
    [tenant, system, service]: [&str; 3],
) -> Scoped {
    let mut parts = Vec::new();
    let mut binds = Vec::new();
    for scope in caller.scopes(right) {
        let (column, value) = match scope {
            Scope::Platform => return Scoped { sql: "(1 = 1)".into(), binds: Vec::new() },
            Scope::Tenant(id) => (tenant, id.to_string()),
            Scope::System(id) => (system, id.to_string()),
            Scope::Service(id) => (service, id.to_string()),
        };
        parts.push(format!("{column} = ${}", first + binds.len()));
        binds.push(value);
    }
    let sql = if parts.is_empty() { "(1 = 0)".into() } else { format!("({})", parts.join(" OR ")) };
    Scoped { sql, binds }
}

#[cfg(test)]
mod tests {
    use model::right::Rights;

    use super::*;

    fn caller(scopes: &[&str]) -> Caller {
        let mut caller = Caller::system("test", "");
        let read = Rights::of(&[Right::FleetRead]);
        caller.grants =
            scopes.iter().map(|s| (read, Scope::try_from(s.to_string()).unwrap())).collect();
        caller
    }

    #[test]
    fn each_grant_is_one_bound_alternative_and_none_sees_nothing() {
        let some = scoped(&caller(&["tenant:pay", "service:hr.mail"]), Right::FleetRead, 3);
        assert_eq!(some.sql, "(tenant = $3 OR service = $4)");
        assert_eq!(some.binds, ["pay", "hr.mail"]);
        assert_eq!(scoped(&caller(&[]), Right::FleetRead, 1).sql, "(1 = 0)");
        assert_eq!(scoped(&caller(&["tenant:pay"]), Right::OpLow, 1).sql, "(1 = 0)");
        assert_eq!(
            scoped(&caller(&["tenant:pay", "platform"]), Right::FleetRead, 1).sql,
            "(1 = 1)"
        );
    }
}
