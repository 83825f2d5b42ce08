//! Facts about sealed secrets.

use std::path::Path;

use super::*;
use crate::Migrate;

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn config(dir: &Path) -> Config {
    Config {
        url: format!("sqlite:{}", dir.join("cw.db").display()),
        key_file: Some(dir.join("key").display().to_string()),
        key_env: None,
        key_command: None,
    }
}

async fn open(dir: &Path, key: Option<&str>) -> Store {
    let file = dir.join("key");
    match key {
        Some(key) => std::fs::write(&file, key).unwrap(),
        None => std::fs::remove_file(&file).unwrap(),
    }
    Store::open(&config(dir), Migrate::AtStart).await.unwrap()
}

fn caller() -> Caller {
    Caller::system("test", "r1")
}

fn service(text: &str) -> ServiceId {
    text.parse().unwrap()
}

/// A store with the services pay.cart and pay.till.
async fn with_services(dir: &Path) -> Store {
    let store = open(dir, Some(KEY)).await;
    store.unseal(&config(dir)).await.unwrap();
    let doc = serde_json::from_value(serde_json::json!({
        "version": 1,
        "sites": [{"id": "dc"}],
        "zones": [{"id": "az-1", "site": "dc"}],
        "tenants": [{
            "id": "pay",
            "networks": ["10.0.0.0/8"],
            "systems": [{"id": "shop"}],
            "services": [
                {"id": "cart", "system": "shop", "instances": [{"address": "10.0.0.1:1", "zone": "az-1"}]},
                {"id": "till", "system": "shop", "instances": [{"address": "10.0.0.2:1", "zone": "az-1"}]},
            ],
        }],
    }));
    let how = crate::Apply::default();
    store.apply(&caller(), &doc.unwrap(), how, At::from_ms(1)).await.unwrap();
    store
}

async fn put(store: &Store, id: &str, text: &str) -> String {
    let secret = Secret::new(text.into());
    let at = At::from_ms(5);
    store.secret_put(&caller(), &service(id), SECRET_REDIS, &secret, at).await.unwrap()
}

async fn sql(store: &Store, text: &'static str) {
    let mut tx = store.begin().await.unwrap();
    wr!(tx, c => sqlx::query(text).execute(c).await.map(|d| d.rows_affected())).unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_secret_comes_back_as_it_was_and_lies_nowhere_in_clear() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_services(dir.path()).await;
    let id = put(&store, "pay.cart", "first-pa55").await;
    assert_eq!(store.secret_open(&id).await.unwrap().reveal(), "first-pa55");
    put(&store, "pay.cart", "second-pa55").await;
    assert_eq!(store.secret_open(&id).await.unwrap().reveal(), "second-pa55");
    store.close().await;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for planted in ["first-pa55", "second-pa55"] {
            let found = bytes.windows(planted.len()).any(|w| w == planted.as_bytes());
            assert!(!found, "{planted} lies in the store's folder");
        }
    }
}

#[tokio::test]
async fn a_row_that_was_swapped_or_altered_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_services(dir.path()).await;
    let cart = put(&store, "pay.cart", "of-cart").await;
    let till = put(&store, "pay.till", "of-till").await;
    sql(
        &store,
        "UPDATE secret SET ciphertext = (SELECT s.ciphertext FROM secret s WHERE s.id <> secret.id \
         LIMIT 1), nonce = (SELECT s.nonce FROM secret s WHERE s.id <> secret.id LIMIT 1) \
         WHERE id = 'pay.cart/redis_user'",
    )
    .await;
    let said = store.secret_open(&cart).await.err().unwrap().to_string();
    assert!(said.contains("pay.cart") && said.contains("altered or moved"), "{said}");
    assert_eq!(store.secret_open(&till).await.unwrap().reveal(), "of-till");
    sql(&store, "UPDATE secret SET service = 'pay.cart' WHERE id = 'pay.till/redis_user'").await;
    assert!(matches!(store.secret_open(&till).await, Err(Error::Internal(_))));
}

#[tokio::test]
async fn a_wrong_or_missing_key_seals_the_store_and_the_right_one_opens_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_services(dir.path()).await;
    let id = put(&store, "pay.cart", "secret-text").await;
    store.close().await;
    drop(store);
    for key in [&KEY.replace('0', "1"), "short", ""] {
        let again = open(dir.path(), Some(key)).await;
        let said = again.unseal(&config(dir.path())).await.err().unwrap();
        assert!(matches!(said, Error::Sealed(_)), "{said}");
        assert!(again.is_sealed());
        assert!(matches!(again.secret_open(&id).await, Err(Error::Sealed(_))));
        again.close().await;
    }
    let none = open(dir.path(), None).await;
    let said = none.unseal(&config(dir.path())).await.err().unwrap().to_string();
    assert!(said.contains("--new-key"), "{said}");
    none.close().await;
    drop(none);
    let right = open(dir.path(), Some(KEY)).await;
    right.unseal(&config(dir.path())).await.unwrap();
    assert_eq!(right.secret_open(&id).await.unwrap().reveal(), "secret-text");
}

#[test]
fn the_hmac_is_the_one_of_rfc_4231() {
    // Test case 2 of the RFC, its key "Jefe" padded to a whole key as HMAC itself pads it.
    let mut key: Key = Zeroizing::new([0; KEY_BYTES]);
    key[..4].copy_from_slice(b"Jefe");
    assert_eq!(
        hex::encode(hmac(&key, b"what do ya want for nothing?")),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}
