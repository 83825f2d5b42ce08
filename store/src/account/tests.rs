//! Who may come in, at the edges: the end of an hour, of a grant, of an account, of a token.

use model::At;
use model::caller::{Caller, Via};
use model::right::{Grant, Right, Rights, Role, Scope};

use crate::{
    Account, Config, Error, LoginAttempt, Migrate, NewAccount, NewToken, Store, TOKEN_DAYS_MAX,
    TokenKind,
};

const DAY: i64 = 86_400_000;

fn at(ms: i64) -> At {
    At::from_ms(1_700_000_000_000 + ms)
}

async fn store() -> (Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        url: format!("sqlite:{}", dir.path().join("cw.db").display()),
        key_file: None,
        key_env: None,
        key_command: None,
    };
    (Store::open(&config, Migrate::AtStart).await.unwrap(), dir)
}

fn named(subject: &str) -> NewAccount {
    NewAccount {
        subject: subject.into(),
        display: subject.into(),
        staff_id: String::new(),
        password: "phc".into(),
    }
}

fn system() -> Caller {
    Caller::system("test", "r")
}

fn as_caller(account: &Account, grants: &[Grant]) -> Caller {
    Caller {
        actor: account.actor(),
        via: Via::Api,
        address: None,
        request_id: "r".into(),
        grants: grants.iter().map(|g| (g.role.rights(), g.scope.clone())).collect(),
    }
}

fn reader(until: Option<At>) -> Grant {
    Grant { role: Role::Reader, scope: Scope::Platform, until }
}

fn token(id: &str, days: i64) -> NewToken {
    NewToken {
        id: id.into(),
        hash: "h".into(),
        kind: TokenKind::Api,
        name: "t".into(),
        rights: Rights::ALL,
        scopes: vec![Scope::Platform],
        expires_at: at(days * DAY),
    }
}

fn login(account: &Account) -> LoginAttempt {
    LoginAttempt {
        account: Some(account.id.clone()),
        subject: account.subject.clone(),
        method: "password".into(),
        result: "ok".into(),
        address: "10.0.0.1".into(),
    }
}

#[tokio::test]
async fn a_setup_token_works_within_its_hour_and_a_newer_one_replaces_it() {
    let (store, _dir) = store().await;
    store.setup_put("old", at(3_600_000)).await.unwrap();
    store.setup_put("new", at(3_600_000)).await.unwrap();
    let set_up = async |hash: &str, now: At| {
        store.account_setup(&system(), hash, named("boss"), &[reader(None)], now).await
    };
    assert!(matches!(set_up("old", at(0)).await, Err(Error::NotFound(_))));
    assert!(matches!(set_up("new", at(3_600_000)).await, Err(Error::NotFound(_))));
    assert!(store.setup_open(at(3_599_999)).await.unwrap());
    set_up("new", at(3_599_999)).await.unwrap();
    assert!(!store.setup_open(at(0)).await.unwrap());
    assert!(matches!(store.setup_put("x", at(DAY)).await, Err(Error::Conflict(_))));
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let (store, _dir) = store().await;
    store.account_create(&system(), named("ann"), &[], at(0)).await.unwrap();
    let again = store.account_create(&system(), named("ann"), &[], at(0)).await;
    assert!(matches!(again, Err(Error::Conflict(text)) if text.contains("ann")));
}

#[tokio::test]
async fn a_grant_gives_nothing_from_the_moment_it_ends() {
    let (store, _dir) = store().await;
    let grants = [reader(Some(at(10)))];
    let ann = store.account_create(&system(), named("ann"), &grants, at(0)).await.unwrap();
    assert_eq!(store.grant_live(&ann.id, at(9)).await.unwrap().len(), 1);
    assert_eq!(store.grant_live(&ann.id, at(10)).await.unwrap(), vec![]);
    store.grant_add(&system(), &ann.id, &reader(None), "back", at(11)).await.unwrap();
    assert_eq!(store.grant_live(&ann.id, at(12)).await.unwrap().len(), 1);
    store.grant_end(&system(), &ann.id, Role::Reader, &Scope::Platform, at(13)).await.unwrap();
    assert_eq!(store.grant_live(&ann.id, at(13)).await.unwrap(), vec![]);
}

#[tokio::test]
async fn nobody_changes_his_own_grants() {
    let (store, _dir) = store().await;
    let grants = [Grant { role: Role::SecurityAdministrator, scope: Scope::Platform, until: None }];
    let sec = store.account_create(&system(), named("sec"), &grants, at(0)).await.unwrap();
    let caller = as_caller(&sec, &grants);
    let own = store.grant_add(&caller, &sec.id, &reader(None), "me", at(1)).await;
    assert!(matches!(own, Err(Error::Invalid(_))));
    let ann = store.account_create(&caller, named("ann"), &[], at(1)).await.unwrap();
    store.grant_add(&caller, &ann.id, &reader(None), "new", at(1)).await.unwrap();
    let reads = as_caller(&ann, &[reader(None)]);
    let denied = store.grant_add(&reads, &sec.id, &reader(None), "x", at(2)).await;
    assert!(matches!(denied, Err(Error::Denied(_))));
}

#[tokio::test]
async fn a_disabled_account_loses_sessions_and_tokens_at_once() {
    let (store, _dir) = store().await;
    let grants = [reader(None)];
    let ann = store.account_create(&system(), named("ann"), &grants, at(0)).await.unwrap();
    let caller = as_caller(&ann, &grants);
    store.session_open(&caller, "s", login(&ann), at(DAY), at(0)).await.unwrap();
    store.token_create(&caller, token("t", 1), None, at(0)).await.unwrap();
    assert!(store.session_get("s", at(1)).await.unwrap().is_some());
    assert!(store.token_get("t", at(1)).await.unwrap().is_some());
    store.account_disable(&system(), &ann.id, true, at(2)).await.unwrap();
    assert!(store.session_get("s", at(3)).await.unwrap().is_none());
    assert!(store.token_get("t", at(3)).await.unwrap().is_none());
    store.account_disable(&system(), &ann.id, false, at(4)).await.unwrap();
    assert!(store.session_get("s", at(5)).await.unwrap().is_none(), "an ended session stays ended");
}

#[tokio::test]
async fn a_session_and_a_token_end_by_themselves() {
    let (store, _dir) = store().await;
    let grants = [reader(None)];
    let ann = store.account_create(&system(), named("ann"), &grants, at(0)).await.unwrap();
    let caller = as_caller(&ann, &grants);
    store.session_open(&caller, "s", login(&ann), at(100), at(0)).await.unwrap();
    assert!(store.session_get("s", at(99)).await.unwrap().is_some());
    assert!(store.session_get("s", at(100)).await.unwrap().is_none());
    store.token_create(&caller, token("t", 1), None, at(0)).await.unwrap();
    assert!(store.token_get("t", at(DAY)).await.unwrap().is_none());
    let long = store.token_create(&caller, token("u", TOKEN_DAYS_MAX + 1), None, at(0)).await;
    assert!(matches!(long, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn a_token_made_by_a_token_reaches_no_further_than_that_one() {
    let (store, _dir) = store().await;
    let grants = [reader(None)];
    let ann = store.account_create(&system(), named("ann"), &grants, at(0)).await.unwrap();
    store.token_create(&as_caller(&ann, &grants), token("parent", 2), None, at(0)).await.unwrap();
    let mut narrow = as_caller(&ann, &[]);
    narrow.actor.token = Some("parent".into());
    let rights = Rights::of(&[Right::FleetRead, Right::TokenCreate]);
    narrow.grants = vec![(rights, Scope::Tenant("pay".parse().unwrap()))];
    let wide = store.token_create(&narrow, token("w", 1), None, at(0)).await;
    assert!(matches!(wide, Err(Error::Denied(_))), "{wide:?}");
    let scopes = vec![Scope::Tenant("pay".parse().unwrap())];
    let same = NewToken { rights, scopes, ..token("n", 2) };
    store.token_create(&narrow, same.clone(), None, at(0)).await.unwrap();
    let longer = NewToken { id: "l".into(), expires_at: at(2 * DAY) + 1, ..same };
    let longer = store.token_create(&narrow, longer, None, at(0)).await;
    assert!(matches!(longer, Err(Error::Invalid(_))), "{longer:?}");
}
