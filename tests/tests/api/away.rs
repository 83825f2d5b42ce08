//! A database that is there and does not answer: held by a lock, or frozen.

use serde_json::json;
use tests::pg::Postgres;
use tests::process::{Cachewarden, Options, binary, inventory};
use tests::wait;

use crate::world::answered;

/// More than the pool has connections.
const CALLERS: usize = 12;

async fn on(pg: &Postgres) -> Cachewarden {
    let options = Options { store_url: Some(pg.url()), ..Options::default() };
    let mut cw = Cachewarden::prepared(&options);
    let migrated = std::process::Command::new(binary())
        .args(["migrate", "--config"])
        .arg(cw.config())
        .output()
        .unwrap();
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    cw.spawn_with(&[]);
    cw.answers().await;
    cw.apply(&inventory(json!([]))).await;
    cw
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_is_503_and_is_used_again_when_it_does() {
    let pg = Postgres::start().await;
    let cw = on(&pg).await;
    let token = cw.token().await.to_string();
    let http = reqwest::Client::new();
    let get = async |path: &str| {
        let url = format!("{}/api/v1{path}", cw.url);
        answered(http.get(url).bearer_auth(&token)).await
    };
    assert_eq!(get("/operations").await.status, 200);

    // One table held: whoever asks for it waits, and takes a connection with him.
    let held = pg.hold("BEGIN; LOCK TABLE runbook_mode IN ACCESS EXCLUSIVE MODE;").await;
    let waiting: Vec<_> = (0..CALLERS).map(|_| get("/runbooks")).collect();
    for answer in futures_util::future::join_all(waiting).await {
        assert_eq!(answer.status, 503, "{}", answer.text);
    }
    // They have been answered; their connections, which never were, must not be missed.
    wait::until("another table is read while the first is still held", || async {
        (get("/operations").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(get("/runbooks").await.status, 503, "it is held all the same");
    drop(held);
    wait::until("the table is read again", || async {
        (get("/runbooks").await.status == 200).then_some(())
    })
    .await;

    // The whole server frozen, as a virtual machine that is moved.
    pg.freeze();
    let frozen: Vec<_> = (0..CALLERS).map(|_| get("/operations")).collect();
    for answer in futures_util::future::join_all(frozen).await {
        assert_eq!((answer.status, answer.code().as_str()), (503, "CW-1501"), "{}", answer.text);
    }
    pg.thaw();
    wait::until("the database is used again", || async {
        (get("/operations").await.status == 200).then_some(())
    })
    .await;
}
