//! From grants to what a caller may do: of a person, and of a token that is narrower.
//!
//! Invariant: a token's reach is the intersection of what it was made with and what its owner holds
//! now, scope by scope. Refuses to know requests.

use model::right::{Grant, Right, Rights, Role, Scope};
use model::{ServiceId, SystemId};
use store::{TokenKind, TokenRow};

/// Pairs of rights and the scope they hold in.
pub type Reach = Vec<(Rights, Scope)>;

/// What live grants give.
pub fn of_grants(grants: &[Grant]) -> Reach {
    grants.iter().map(|g| (g.role.rights(), g.scope.clone())).collect()
}

/// Whether somebody with this reach may do more than read: his session ends sooner when idle.
pub fn operates(reach: &Reach) -> bool {
    let reads = Role::Reader.rights();
    reach.iter().any(|(rights, _)| rights.intersect(reads) != *rights)
}

/// What a token may do now. `system_of` places a service in its system.
pub fn of_token(row: &TokenRow, system_of: impl Fn(&ServiceId) -> Option<SystemId>) -> Reach {
    let owner = of_grants(&row.grants);
    let mut reach = Reach::new();
    for (held, theirs) in &owner {
        let rights = match row.kind {
            TokenKind::Api => held.intersect(row.rights),
            TokenKind::Scrape if held.has(Right::FleetRead) => Rights::of(&[Right::MetricsScrape]),
            TokenKind::Intake if held.has(Right::IntegrationEdit) => {
                Rights::of(&[Right::IntakePost])
            }
            TokenKind::Scrape | TokenKind::Intake => Rights::NONE,
        };
        if rights == Rights::NONE {
            continue;
        }
        for scope in &row.scopes {
            if let Some(narrow) = both(theirs, scope, &system_of) {
                reach.push((rights, narrow));
            }
        }
    }
    reach
}

/// The part of the tree inside both scopes: one holds the other, or nothing is in both.
fn both(a: &Scope, b: &Scope, of: &impl Fn(&ServiceId) -> Option<SystemId>) -> Option<Scope> {
    if holds(a, b, of) {
        return Some(b.clone());
    }
    holds(b, a, of).then(|| a.clone())
}

fn holds(outer: &Scope, inner: &Scope, of: &impl Fn(&ServiceId) -> Option<SystemId>) -> bool {
    match (outer, inner) {
        (Scope::Platform, _) => true,
        (Scope::Tenant(t), Scope::Tenant(u)) => t == u,
        (Scope::Tenant(t), Scope::System(s)) => s.tenant() == *t,
        (Scope::Tenant(t), Scope::Service(s)) => s.tenant() == *t,
        (Scope::System(s), Scope::System(u)) => s == u,
        (Scope::System(s), Scope::Service(v)) => of(v).as_ref() == Some(s),
        (Scope::Service(s), Scope::Service(v)) => s == v,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::At;

    fn scope(text: &str) -> Scope {
        Scope::try_from(text.to_string()).unwrap()
    }

    fn token(kind: TokenKind, rights: &[Right], scopes: &[&str], grants: &[(Role, &str)]) -> Reach {
        let row = TokenRow {
            id: "t".into(),
            hash: String::new(),
            kind,
            rights: Rights::of(rights),
            scopes: scopes.iter().map(|s| scope(s)).collect(),
            used_at: None,
            expires_at: At::EPOCH,
            account: store::Account {
                id: String::new(),
                issuer: "local".into(),
                subject: "ann".into(),
                staff_id: String::new(),
                display: String::new(),
                disabled: false,
            },
            grants: grants
                .iter()
                .map(|(role, s)| Grant { role: *role, scope: scope(s), until: None })
                .collect(),
        };
        of_token(&row, |s| (s.as_str() == "pay.cart").then(|| "pay.shop".parse().unwrap()))
    }

    #[test]
    fn a_token_reaches_the_narrower_of_its_scope_and_its_owners() {
        let read = [Right::FleetRead];
        let ops = [(Role::Operator, "tenant:pay")];
        let want = |s: &str| vec![(Rights::of(&read), scope(s))];
        assert_eq!(token(TokenKind::Api, &read, &["platform"], &ops), want("tenant:pay"));
        assert_eq!(
            token(TokenKind::Api, &read, &["service:pay.cart"], &ops),
            want("service:pay.cart")
        );
        assert_eq!(token(TokenKind::Api, &read, &["tenant:hr"], &ops), vec![]);
        let system = [(Role::Operator, "system:pay.shop")];
        assert_eq!(
            token(TokenKind::Api, &read, &["service:pay.cart"], &system),
            want("service:pay.cart")
        );
        assert_eq!(token(TokenKind::Api, &read, &["service:pay.other"], &system), vec![]);
    }

    #[test]
    fn a_token_loses_what_its_owner_lost() {
        let wide = [Right::FleetRead, Right::OpDisrupt];
        let reach = token(TokenKind::Api, &wide, &["platform"], &[(Role::Reader, "platform")]);
        assert!(reach.iter().all(|(r, _)| !r.has(Right::OpDisrupt)));
        assert_eq!(token(TokenKind::Api, &wide, &["platform"], &[]), vec![]);
    }

    #[test]
    fn scrape_and_intake_tokens_do_one_thing_only() {
        let admin = [(Role::SystemAdministrator, "platform")];
        let reach = token(TokenKind::Intake, &[], &["tenant:pay"], &admin);
        assert_eq!(reach, vec![(Rights::of(&[Right::IntakePost]), scope("tenant:pay"))]);
        assert_eq!(
            token(TokenKind::Intake, &[], &["platform"], &[(Role::Operator, "platform")]),
            vec![]
        );
        let reach = token(TokenKind::Scrape, &[], &["platform"], &[(Role::Reader, "tenant:pay")]);
        assert_eq!(reach, vec![(Rights::of(&[Right::MetricsScrape]), scope("tenant:pay"))]);
    }

    #[test]
    fn a_reader_does_not_operate() {
        let reach = |role: Role| of_grants(&[Grant { role, scope: Scope::Platform, until: None }]);
        assert!(!operates(&reach(Role::Reader)));
        assert!(operates(&reach(Role::Operator)) && operates(&reach(Role::SecurityAdministrator)));
    }
}
