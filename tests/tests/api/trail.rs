//! The audit trail: it tells what was done, and of every change to itself.

use sqlx::sqlite::SqlitePoolOptions;

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{PASSWORD, World};

async fn verify(world: &World) -> Vec<Value> {
    let answer = world.send("auditor", Method::POST, "/audit/verify", &json!({})).await;
    answer.json()["items"].as_array().unwrap_or_else(|| panic!("{}", answer.text)).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_logins_and_refused_logins_are_on_record_without_secrets() {
    let world = World::start().await;
    world.sign_in("operator", "wrong wrong wrong").await;
    world.sign_in("operator", PASSWORD).await;
    let body = json!({ "on": true, "scope": "tenant:pay", "reason": "test" });
    world.send("operator", Method::PUT, "/kill-switch", &body).await;
    world.send("reader", Method::PUT, "/kill-switch", &body).await;
    let answer = world.get("auditor", "/audit?limit=500").await;
    let records = answer.json()["items"].as_array().unwrap().clone();
    assert_eq!(answer.json()["count"], records.len());
    let found = |action: &str, result: &str| {
        let mut all = records.iter().filter(|r| r["action"] == action && r["result"] == result);
        all.next().unwrap_or_else(|| panic!("no {action} {result}")).clone()
    };
    assert_eq!(found("login", "refused")["code"], "CW-1101");
    assert_eq!(found("login", "ok")["actor"]["subject"], "operator");
    let refused = found("kill_switch.set", "refused");
    assert_eq!(
        (&refused["actor"]["subject"], &refused["code"]),
        (&json!("reader"), &json!("CW-1200"))
    );
    let switch = found("kill_switch.set", "ok");
    assert_eq!((&switch["chain"], &switch["scope"]), (&json!("pay"), &json!("tenant:pay")));
    assert!(!switch["request_id"].as_str().unwrap().is_empty());
    for secret in [PASSWORD, "wrong wrong wrong", "argon2"] {
        assert!(!answer.text.contains(secret), "{secret} is on record");
    }
    // Page by page, each record once.
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let page = world.get("auditor", &format!("/audit?limit=3&page={next}")).await.json();
        let ids =
            page["items"].as_array().unwrap().iter().map(|r| format!("{}{}", r["chain"], r["seq"]));
        seen.extend(ids);
        match page["next"].as_str() {
            Some(cursor) => next = cursor.to_string(),
            None => break,
        }
    }
    let n = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), n, "each once");
    assert!(n >= records.len(), "{n} of {}", records.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_a_gap_and_a_cut_tail_are_found_and_named() {
    let mut world = World::start().await;
    for chain in verify(&world).await {
        assert!(chain["fault"].is_null(), "{chain}");
    }
    let damage = [
        (
            "UPDATE audit SET body = replace(body, '\"via\":\"system\"', '\"via\":\"portal\"') \
          WHERE chain = 'platform' AND seq = 2",
            "altered",
            2,
        ),
        ("DELETE FROM audit WHERE chain = 'pay' AND seq = 1", "missing", 1),
        (
            "DELETE FROM audit WHERE chain = 'hr' AND seq = \
          (SELECT max(seq) FROM audit WHERE chain = 'hr')",
            "cut",
            0,
        ),
    ];
    world.cw.term().await;
    let url = format!("sqlite:{}", world.cw.dir.join("cw.db").display());
    let pool = SqlitePoolOptions::new().connect(&url).await.unwrap();
    for trigger in ["audit_no_update", "audit_no_delete"] {
        let sql = format!("DROP TRIGGER {trigger}");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    }
    for (sql, _, _) in damage {
        let done = sqlx::query(sql).execute(&pool).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{sql}");
    }
    pool.close().await;
    world.cw.restart().await;
    let chains = verify(&world).await;
    let of = |name: &str| chains.iter().find(|c| c["chain"] == name).unwrap()["fault"].clone();
    assert_eq!(of("platform"), json!({ "seq": 2, "how": "altered" }));
    assert_eq!(of("pay"), json!({ "seq": 1, "how": "missing" }));
    assert_eq!(of("hr")["how"], "cut");
}
