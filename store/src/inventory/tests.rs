//! Facts about applying inventory files, on SQLite.

use serde_json::{Value, json};

use super::*;
use crate::{Config, Migrate};

struct Open {
    _dir: tempfile::TempDir,
    store: Store,
}

async fn open() -> Open {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, crate::new_key().unwrap().reveal()).unwrap();
    let config = Config {
        url: format!("sqlite:{}", dir.path().join("cw.db").display()),
        key_file: Some(key.display().to_string()),
        key_env: None,
        key_command: None,
    };
    let store = Store::open(&config, Migrate::AtStart).await.unwrap();
    store.unseal(&config).await.unwrap();
    store.inventory_seed(&caller(), At::from_ms(1)).await.unwrap();
    Open { _dir: dir, store }
}

fn caller() -> Caller {
    Caller::system("test", "r1")
}

/// Two services with passwords, three zones, a host.
fn file() -> Value {
    json!({
        "version": 1,
        "sites": [{"id": "dc", "display": "Data centre"}],
        "zones": [{"id": "az-1", "site": "dc"}, {"id": "az-2", "site": "dc"}, {"id": "az-3", "site": "dc"}],
        "hosts": [{"id": "h1", "zone": "az-1", "address": "10.1.0.7", "memory_bytes": "64GiB"}],
        "tenants": [{
            "id": "pay",
            "networks": ["10.1.0.0/16"],
            "systems": [{"id": "shop", "env": "uat", "owner": "e1"}],
            "services": [
                {"id": "cart", "system": "shop", "tier": "core", "class": "zone", "managed": true,
                 "auth": {"user": "cw", "password": "planted-1"},
                 "sentinel": {"master_name": "cart", "password": "planted-2"},
                 "instances": [
                    {"address": "10.1.0.7:6379", "zone": "az-1", "host": "h1"},
                    {"address": "10.1.0.8:6379", "zone": "az-2"},
                    {"address": "10.1.0.7:26379", "zone": "az-1", "kind": "sentinel"}]},
                {"id": "solo", "system": "shop",
                 "instances": [{"address": "10.1.0.9:6379", "zone": "az-3", "kind": "redis"}]},
            ],
        }],
        "policies": [{"policy": "instance-down", "scope": "tenant:pay",
                      "levels": {"critical": {"for": "15s"}}}],
    })
}

fn doc(value: Value) -> InventoryDoc {
    serde_json::from_value(value).unwrap()
}

async fn apply(store: &Store, value: Value, how: Apply) -> Result<Diff> {
    store.apply(&caller(), &doc(value), how, At::from_ms(9)).await
}

async fn records(store: &Store) -> usize {
    store.audit_list(&caller(), None, 500).await.unwrap().count
}

#[tokio::test]
async fn the_second_apply_of_a_file_changes_nothing() {
    let open = open().await;
    let first = apply(&open.store, file(), Apply::default()).await.unwrap();
    assert_eq!((first.count("add"), first.unchanged), (1 + 3 + 1 + 1 + 1 + 2 + 4 + 1, 0));
    let (before, generation) =
        (records(&open.store).await, open.store.inventory_generation().await.unwrap());
    let second = apply(&open.store, file(), Apply::default()).await.unwrap();
    assert_eq!((second.changes.len(), second.unchanged), (0, 14));
    assert_eq!(records(&open.store).await, before);
    assert_eq!(open.store.inventory_generation().await.unwrap(), generation);
}

#[tokio::test]
async fn what_was_applied_is_the_tree() {
    let open = open().await;
    apply(&open.store, file(), Apply::default()).await.unwrap();
    let tree = open.store.inventory().await.unwrap();
    let cart = &tree.services[&"pay.cart".parse().unwrap()];
    assert_eq!((cart.replicas_wanted, cart.mode.as_str()), (1, "sentinel"));
    assert!(cart.has_password && cart.managed);
    assert_eq!(tree.hosts[&"h1".parse().unwrap()].memory_bytes, 64 << 30);
    assert_eq!(tree.systems[&"pay.shop".parse().unwrap()].env.as_str(), "uat");
    assert!(tree.systems.contains_key(&"default.unassigned".parse().unwrap()));
    let sentinel = open.store.secret_of(&"pay.cart".parse().unwrap(), crate::SECRET_SENTINEL).await;
    assert_eq!(sentinel.unwrap().unwrap().reveal(), "planted-2");
}

#[tokio::test]
async fn a_password_is_never_in_the_record_or_the_answer() {
    let open = open().await;
    let answer = apply(&open.store, file(), Apply::default()).await.unwrap();
    let records = open.store.audit_list(&caller(), None, 500).await.unwrap().records;
    let said = serde_json::to_string(&(answer, records)).unwrap();
    assert!(said.contains("hmac") && !said.contains("planted"), "{said}");
}

#[tokio::test]
async fn a_changed_password_is_one_change_and_an_absent_one_keeps_the_old() {
    let open = open().await;
    apply(&open.store, file(), Apply::default()).await.unwrap();
    let mut changed = file();
    changed["tenants"][0]["services"][0]["auth"]["password"] = json!("planted-3");
    let answer = apply(&open.store, changed.clone(), Apply::default()).await.unwrap();
    let kinds: Vec<_> = answer.changes.iter().map(|c| (c.kind.as_str(), c.id.as_str())).collect();
    assert_eq!(kinds, [("secret", "pay.cart/redis_user")]);
    changed["tenants"][0]["services"][0]["auth"] = json!({"user": "cw"});
    assert_eq!(apply(&open.store, changed, Apply::default()).await.unwrap().changes, []);
    let kept = open.store.secret_open("pay.cart/redis_user").await.unwrap();
    assert_eq!(kept.reveal(), "planted-3");
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_writes_nothing() {
    let open = open().await;
    let before = records(&open.store).await;
    let dry = Apply { dry_run: true, ..Apply::default() };
    let said = apply(&open.store, file(), dry).await.unwrap();
    assert_eq!(records(&open.store).await, before);
    assert_eq!(open.store.inventory().await.unwrap().services.len(), 0);
    let done = apply(&open.store, file(), Apply::default()).await.unwrap();
    assert_eq!(said.changes, done.changes);
}

#[tokio::test]
async fn pruning_removes_what_the_file_left_out_and_a_large_loss_has_to_be_confirmed() {
    let open = open().await;
    apply(&open.store, file(), Apply::default()).await.unwrap();
    let mut less = file();
    less["tenants"][0]["services"].as_array_mut().unwrap().remove(0);
    let plain = apply(&open.store, less.clone(), Apply::default()).await.unwrap();
    assert_eq!(plain.changes, []);
    let prune = Apply { prune: true, ..Apply::default() };
    let said = apply(&open.store, less.clone(), prune).await.unwrap_err().to_string();
    assert!(said.contains("4 of 7"), "{said}");
    let confirmed = Apply { prune_count: Some(4), ..prune };
    let done = apply(&open.store, less, confirmed).await.unwrap();
    assert_eq!(done.count("remove"), 4);
    let tree = open.store.inventory().await.unwrap();
    assert_eq!(tree.services.keys().map(|s| s.as_str()).collect::<Vec<_>>(), ["pay.solo"]);
    assert!(open.store.secret_open("pay.cart/redis_user").await.is_err());
}

#[tokio::test]
async fn an_address_may_move_to_another_service_when_the_old_one_is_pruned() {
    let open = open().await;
    apply(&open.store, file(), Apply::default()).await.unwrap();
    let mut moved = file();
    moved["tenants"][0]["services"][1]["id"] = json!("single");
    let said = apply(&open.store, moved.clone(), Apply::default()).await.unwrap_err().to_string();
    assert!(said.contains("belongs to service pay.solo"), "{said}");
    let how = Apply { prune: true, prune_count: Some(2), ..Apply::default() };
    apply(&open.store, moved, how).await.unwrap();
    let tree = open.store.inventory().await.unwrap();
    assert!(tree.instances.contains_key(&"pay.single@10.1.0.9:6379".parse().unwrap()));
}

/// Where a file is spoilt (below `/tenants/0/services` when it does not begin with `/`), by what,
/// where the fault is named (empty: there), with which words.
fn spoilt() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    vec![
        ("/version", json!(2), "", "version 1"),
        ("/zones/1/site", json!("moon"), "", "none of dc"),
        ("/zones/1/id", json!("az-1"), "", "twice"),
        ("/hosts/0/address", json!("box"), "", "IP address"),
        ("/hosts/0/zone", json!("az-9"), "", "az-1, az-2, az-3"),
        ("/tenants/0/id", json!("Pay"), "", "a-z"),
        ("/tenants/0/networks/0", json!("10.1/16"), "", "10.1.0.0/16"),
        ("/policies/0/scope", json!("tenant:nobody"), "", "tenant:nobody"),
        ("/policies/0/levels/critical/for", json!("8d"), "", "longest allowed, 7d"),
        ("1/id", json!("cart"), "", "twice"),
        ("1/system", json!("nope"), "", "pay.nope"),
        ("1/instances/0/address", json!("10.1.0.7:6379"), "", "belongs to service pay.cart"),
        ("0/instances/1/address", json!("10.1.0.7:6379"), "", "twice"),
        ("1/instances/0/address", json!("10.9.0.9:6379"), "", "none of the networks"),
        ("1/instances/0/address", json!("169.254.169.254:80"), "", "never dialled"),
        ("1/instances/0/address", json!("redis.example:6379"), "", "not an IP address"),
        ("1/instances/0/kind", json!("sentinel"), "", "mode standalone"),
        ("0/instances/0/zone", json!("az-2"), "0/instances/0/host", "in zone az-1"),
        ("0/sentinel/master_name", json!("a b"), "", "allowed are"),
        ("1", json!({"id": "s", "system": "shop", "seeds": ["a:1"]}), "1/seeds", "under instances"),
        ("1", json!({"id": "s", "system": "shop"}), "1/instances", "at least one"),
        ("0/auth", json!({"password_file": "p"}), "0/auth/password_file", "cachewarden apply"),
    ]
}

#[tokio::test]
async fn a_file_with_a_fault_is_refused_whole_with_its_place() {
    let open = open().await;
    let whole = |place: &str| match place.starts_with('/') {
        true => place.to_string(),
        false => format!("/tenants/0/services/{place}"),
    };
    for (at, value, pointer, words) in spoilt() {
        let pointer = whole(if pointer.is_empty() { at } else { pointer });
        let mut bad = file();
        *bad.pointer_mut(&whole(at)).unwrap() = value;
        let faults = inventory_check(&doc(bad.clone()), &Inventory::default(), false);
        let found = faults.iter().find(|f| f.pointer == pointer);
        let said = found.unwrap_or_else(|| panic!("{at}: no fault at {pointer}: {faults:?}"));
        assert!(said.detail.contains(words), "{at}: {said} lacks {words:?}");
        assert!(matches!(apply(&open.store, bad, Apply::default()).await, Err(Error::Invalid(_))));
    }
    assert_eq!(open.store.inventory().await.unwrap().tenants.len(), 1);
}

#[tokio::test]
async fn who_may_not_edit_a_tenant_changes_nothing_in_it() {
    use model::right::{Rights, Scope};
    let open = open().await;
    let grants = vec![(Rights::ALL, Scope::Tenant("hr".parse().unwrap()))];
    let other = Caller { grants, ..caller() };
    let done = open.store.apply(&other, &doc(file()), Apply::default(), At::from_ms(9)).await;
    assert!(matches!(done, Err(Error::Denied(_))));
    assert!(!open.store.inventory().await.unwrap().tenants.contains_key(&"pay".parse().unwrap()));
}

#[tokio::test]
async fn learnt_shard_numbers_survive_the_next_apply() {
    let open = open().await;
    apply(&open.store, file(), Apply::default()).await.unwrap();
    let id: InstanceId = "pay.cart@10.1.0.8:6379".parse().unwrap();
    let cart = "pay.cart".parse().unwrap();
    let set = [(id.clone(), 2)];
    assert!(open.store.shard_set(&caller(), &cart, &set, At::from_ms(20)).await.unwrap());
    assert!(!open.store.shard_set(&caller(), &cart, &set, At::from_ms(21)).await.unwrap());
    assert_eq!(apply(&open.store, file(), Apply::default()).await.unwrap().changes, []);
    assert_eq!(open.store.inventory().await.unwrap().instances[&id].shard, 2);
}

/// Whoever may adopt in tenant `pay`, and read it.
fn adopter() -> Caller {
    let mut caller = caller();
    let rights = model::right::Rights::of(&[Right::ServiceAdopt, Right::FleetRead]);
    caller.grants = vec![(rights, model::right::Scope::Tenant("pay".parse().unwrap()))];
    caller
}

#[tokio::test]
async fn whoever_may_adopt_adds_services_and_nodes_and_changes_nothing_else() {
    let open = open().await;
    apply(&open.store, file(), Apply::default()).await.unwrap();
    let how = Apply { adopt: true, ..Apply::default() };
    let adopt = async |change: &dyn Fn(&mut Value)| {
        let mut value = file();
        value["sites"] = json!([]);
        value["zones"] = json!([]);
        value["hosts"] = json!([]);
        value["policies"] = json!([]);
        change(&mut value);
        open.store.apply(&adopter(), &doc(value), how, At::from_ms(9)).await
    };
    let fresh = |value: &mut Value| {
        value["sites"] = json!([{"id": "unassigned"}]);
        value["zones"] = json!([{"id": "unassigned", "site": "unassigned"}]);
        value["tenants"][0]["systems"] = json!([{"id": "unassigned"}]);
        value["tenants"][0]["services"] = json!([
            {"id": "fresh", "system": "unassigned", "auth": {"user": "cw", "password": "planted-3"},
             "instances": [{"address": "10.1.0.20:6379", "zone": "unassigned"}]}]);
    };
    let added = adopt(&fresh).await.unwrap();
    assert_eq!((added.count("add"), added.count("change")), (5, 1), "{added:#?}");
    assert_eq!(adopt(&fresh).await.unwrap().changes, [], "the same again is nothing");
    let grown = adopt(&|v| {
        let nodes = v["tenants"][0]["services"][1]["instances"].as_array_mut().unwrap();
        nodes.push(json!({"address": "10.1.0.21:6379", "zone": "az-3"}));
        v["tenants"][0]["services"][1]["replicas"] = json!(0);
    });
    assert_eq!(grown.await.unwrap().changes.len(), 1);
    type Edit<'a> = (&'a str, &'a dyn Fn(&mut Value));
    let refused: [Edit<'_>; 6] = [
        ("networks", &|v| v["tenants"][0]["networks"] = json!(["10.0.0.0/8"])),
        ("a service", &|v| v["tenants"][0]["services"][0]["managed"] = json!(false)),
        ("a password", &|v| {
            v["tenants"][0]["services"][0]["auth"]["password"] = json!("planted-4")
        }),
        ("a system", &|v| v["tenants"][0]["systems"] = json!([{"id": "other"}])),
        ("a host", &|v| {
            v["hosts"] = json!([{"id": "h2", "zone": "az-1", "address": "10.1.0.8"}]);
        }),
        ("another tenant", &|v| {
            v["tenants"][0] = json!({"id": "hr", "networks": ["10.1.0.0/16"]});
        }),
    ];
    for (what, change) in refused {
        let said = adopt(change).await.err();
        assert!(matches!(said, Some(Error::Denied(_))), "{what}: {said:?}");
    }
}

#[tokio::test]
async fn user_and_password_change_together_and_move_the_generation() {
    let open = open().await;
    apply(&open.store, file(), Apply::default()).await.unwrap();
    let service: ServiceId = "pay.cart".parse().unwrap();
    let at = At::from_ms(9);
    let generation = async || open.store.inventory_generation().await.unwrap();
    let read = async |kind| {
        let secret = open.store.secret_of(&service, kind).await.unwrap();
        secret.map(|s| s.reveal().to_string())
    };
    let before = generation().await;
    let new = model::secret::Secret::new("planted-5".into());
    for (kind, user) in [(crate::SECRET_REDIS, "watch"), (crate::SECRET_SENTINEL, "guard")] {
        open.store.credential_put(&caller(), (&service, kind), Some(user), &new, at).await.unwrap();
        assert_eq!(read(kind).await.as_deref(), Some("planted-5"));
    }
    assert_eq!(generation().await, before + 2);
    let tree = open.store.inventory().await.unwrap();
    let stored = &tree.services[&service];
    assert_eq!(
        (stored.auth_user.as_str(), stored.access.sentinel_user.as_str()),
        ("watch", "guard")
    );
    let kind = (&service, crate::SECRET_REDIS);
    assert!(open.store.credential_remove(&caller(), kind, at).await.unwrap());
    assert!(!open.store.credential_remove(&caller(), kind, at).await.unwrap(), "it is gone");
    let tree = open.store.inventory().await.unwrap();
    assert!(!tree.services[&service].has_password && tree.services[&service].auth_user.is_empty());
    assert_eq!(read(crate::SECRET_SENTINEL).await.as_deref(), Some("planted-5"), "the other stays");
    let denied = open.store.credential_put(&adopter(), kind, None, &new, at).await;
    assert!(matches!(denied, Err(Error::Denied(_))), "{denied:?}");
    let told =
        serde_json::to_string(&open.store.audit_list(&caller(), None, 500).await.unwrap().records);
    assert!(!told.unwrap().contains("planted-5"));
}
