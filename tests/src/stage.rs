//! A service of real servers under load and the program that works on it, with the questions tests ask
//! of the servers themselves.
//!
//! Invariant: what the fleet shows is asked of the fleet, never of the program under test.

use std::collections::BTreeMap;

use link::reply::role::RoleReply;
use model::{InstanceId, ServiceId};
use serde_json::{Value, json};
use sqlx::Connection;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::fleet::RedisFleet;
use crate::inventory::{Listed, document};
use crate::load::Find;
use crate::nodes::{Nodes, call, role, told};
use crate::wait;
use crate::warden::{Setup, Warden};

/// Two fleets at a time: more would disturb each other's time-outs on two cores.
static SEATS: Semaphore = Semaphore::const_new(2);

/// The service.
pub const SERVICE: &str = "demo.cart";
/// Its slug, and its master's name at the Sentinels.
pub const NAME: &str = "cart";
/// Votes of the last election of a shard bind for four of these.
const NODE_TIMEOUT_MS: u32 = 2_000;

/// A service and the program.
pub struct Stage {
    /// The program.
    pub warden: Warden,
    /// Kind of operation.
    pub kind: &'static str,
    /// `standalone`, `sentinel` or `cluster`.
    pub mode: &'static str,
    /// Nodes of each shard.
    pub shards: Vec<Vec<String>>,
    /// Index of the shard operations are about now.
    pub shard: usize,
    /// All data nodes.
    pub data: Vec<String>,
    /// Sentinels.
    pub sentinels: Vec<String>,
    /// Input of the operations; none: that of the kind.
    pub params: Option<Value>,
    /// The nodes, when the program can restart them.
    pub nodes: Option<Nodes>,
    _fleet: Option<RedisFleet>,
    _seat: SemaphorePermit<'static>,
}

fn of_fleet(fleet: &RedisFleet, indices: &[usize]) -> Vec<String> {
    indices.iter().map(|i| fleet.nodes[*i].address.clone()).collect()
}

impl Stage {
    /// A service for switchovers: three nodes, in a cluster six.
    pub async fn new(mode: &'static str) -> Stage {
        let seat = SEATS.acquire().await.expect("never closed");
        let mut fleet = RedisFleet::new();
        let (mut sentinels, mut data) = (Vec::new(), Vec::new());
        match mode {
            "sentinel" => {
                let made = fleet.sentinel(NAME, 5_000).await;
                data.push(made.master);
                data.extend(&made.replicas);
                sentinels = of_fleet(&fleet, &made.sentinels);
                info_period(&sentinels, 1_000).await;
            }
            "cluster" => data = fleet.cluster(NODE_TIMEOUT_MS).await,
            _ => data = fleet.replicated(2, &[]).await,
        }
        let data = of_fleet(&fleet, &data);
        let warden = Warden::start(Setup::default()).await;
        let stage = Stage {
            warden,
            kind: "switchover",
            mode,
            shards: match mode {
                "cluster" => (0..3).map(|i| vec![data[i].clone(), data[i + 3].clone()]).collect(),
                _ => vec![data.clone()],
            },
            shard: 0,
            data,
            sentinels,
            params: None,
            nodes: None,
            _fleet: Some(fleet),
            _seat: seat,
        };
        stage.listed("10m").await;
        stage
    }

    /// A master and a replica the program can restart. `sections` are added to its configuration;
    /// `down_for` is how long a node must be down until the alert fires.
    pub async fn restartable(sections: &str, down_for: &str) -> Stage {
        let seat = SEATS.acquire().await.expect("never closed");
        let nodes = Nodes::new();
        let data = nodes.replicated(1, &[]).await;
        Stage::provided("standalone", nodes, (data, Vec::new()), sections, down_for, seat).await
    }

    /// A master, two replicas and three Sentinels the program can restart.
    pub async fn restartable_sentinel(sections: &str, down_for: &str) -> Stage {
        let seat = SEATS.acquire().await.expect("never closed");
        let nodes = Nodes::new();
        let data = nodes.replicated(2, &[]).await;
        let sentinels = nodes.sentinels(NAME, &data).await;
        Stage::provided("sentinel", nodes, (data, sentinels), sections, down_for, seat).await
    }

    /// A cluster of three masters with a replica each, whose nodes the program can make and end.
    pub async fn restartable_cluster(sections: &str) -> Stage {
        let seat = SEATS.acquire().await.expect("never closed");
        let nodes = Nodes::new();
        let data = nodes.cluster(NODE_TIMEOUT_MS).await;
        Stage::provided("cluster", nodes, (data, Vec::new()), sections, "10m", seat).await
    }

    async fn provided(
        mode: &'static str,
        nodes: Nodes,
        (data, sentinels): (Vec<String>, Vec<String>),
        sections: &str,
        down_for: &str,
        seat: SemaphorePermit<'static>,
    ) -> Stage {
        let sections = format!("{sections}\n{}", nodes.section());
        let stage = Stage {
            warden: Warden::start(Setup { sections, ..Setup::default() }).await,
            kind: "node_restart",
            mode,
            shards: match mode {
                "cluster" => (0..3).map(|i| vec![data[i].clone(), data[i + 3].clone()]).collect(),
                _ => vec![data.clone()],
            },
            shard: 0,
            data,
            sentinels,
            params: None,
            nodes: Some(nodes),
            _fleet: None,
            _seat: seat,
        };
        stage.listed(down_for).await;
        stage
    }

    async fn listed(&self, down_for: &str) {
        // A loaded machine makes commands slow, which costs score, and an operation whose service
        // scores less than before does not end well: what is slow here is not what is tested.
        for address in &self.data {
            let set = call(address, &["CONFIG", "SET", "slowlog-log-slower-than", "100000"]).await;
            set.expect("every node answers");
        }
        let listed = Listed::new(NAME, self.mode, self.data.clone());
        let listed = Listed { sentinels: self.sentinels.clone(), ..listed };
        self.warden.apply(&document(&[listed], down_for)).await;
    }

    /// The provider's nodes.
    pub fn nodes(&self) -> &Nodes {
        self.nodes.as_ref().expect("made through the provider")
    }

    /// Nodes of the present shard.
    pub fn members(&self) -> &[String] {
        &self.shards[self.shard]
    }

    /// How clients find the master. Without Sentinels they try all nodes, that one first.
    pub fn find(&self, master: &str) -> Find {
        let mut order = self.data.clone();
        order.sort_by_key(|a| a != master);
        match self.mode {
            "sentinel" => Find::Sentinel(self.sentinels.clone(), NAME.into()),
            "cluster" => Find::Slots(order),
            _ => Find::Role(order),
        }
    }

    /// The shard's one master, when everybody else follows it directly over a live link and every
    /// Sentinel names it.
    pub async fn settled(&self) -> Option<String> {
        let (mut masters, mut followed) = (Vec::new(), Vec::new());
        for address in self.members() {
            match role(address).await? {
                RoleReply::Master { .. } => masters.push(address.clone()),
                RoleReply::Replica { master, link, .. } if link == "connected" => {
                    followed.push(master);
                }
                _ => return None,
            }
        }
        for sentinel in &self.sentinels {
            let (ip, port) =
                (told(sentinel, NAME, "ip").await?, told(sentinel, NAME, "port").await?);
            followed.push(format!("{ip}:{port}"));
        }
        let [master] = masters.as_slice() else { return None };
        followed.iter().all(|m| m == master).then(|| master.clone())
    }

    /// Waits until the shard is settled; its master.
    pub async fn master(&self) -> String {
        wait::until("one master that all others follow", || self.settled()).await
    }

    /// `replica-priority` of each node.
    pub async fn priorities(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for address in self.members() {
            let value = call(address, &["CONFIG", "GET", "replica-priority"]).await;
            let value = value.and_then(|v| link::reply::text(link::reply::items(&v)?.get(1)?));
            all.insert(address.clone(), value.expect("every node answers"));
        }
        all
    }

    /// Epoch of each Sentinel: it grows by one with each failover.
    pub async fn epochs(&self) -> Vec<u64> {
        let mut all = Vec::new();
        for sentinel in &self.sentinels {
            let epoch = told(sentinel, NAME, "config-epoch").await;
            all.push(epoch.and_then(|e| e.parse().ok()).expect("a Sentinel knows its epoch"));
        }
        all
    }

    /// Waits until every Sentinel has read the present priorities.
    pub async fn priorities_are_seen(&self) {
        let set = self.priorities().await;
        for sentinel in &self.sentinels {
            wait::until("a Sentinel has read the priorities", || async {
                let seen = call(sentinel, &["SENTINEL", "REPLICAS", NAME]).await?;
                let seen = link::reply::sentinel::replicas(&seen)?;
                let as_set = |address: &str, seen: u32| set.get(address) == Some(&seen.to_string());
                seen.iter().all(|r| as_set(&r.address(), r.priority)).then_some(())
            })
            .await;
        }
    }

    /// A key whose slot the present shard has, when there are several.
    pub fn key(&self) -> String {
        let first = self.shard as u16 * 5_462;
        ops::plan::slot::key_in("let-go", &[(first, first + 5_000)]).expect("a key of these slots")
    }

    /// Whom an operation is about: the replica to be promoted, or to be restarted.
    pub fn target(&self, master: &str) -> String {
        self.members().iter().find(|a| *a != master).expect("a replica").clone()
    }

    /// Id of a node.
    pub fn id(&self, address: &str) -> String {
        let service = ServiceId::parse(SERVICE).expect("a service");
        InstanceId::new(&service, address).expect("an address").to_string()
    }

    /// The plan, as soon as the traces of the last operation allow one.
    pub async fn plan(&self, master: &str) -> Value {
        let id = self.id(&self.target(master));
        let params = match (self.kind, self.mode) {
            _ if self.params.is_some() => self.params.clone().unwrap_or_default(),
            ("node_restart", _) => json!({"instance": id, "up_for_s": 5}),
            (_, "standalone") => json!({"target": id, "discovery": "none_needed"}),
            _ => json!({"target": id}),
        };
        wait::until("a plan is possible", || async {
            self.warden.plan(self.kind, SERVICE, &params).await.ok()
        })
        .await
    }

    /// Takes the leases of the dead process away, as their end would.
    pub async fn end_leases(&self) {
        let mut db = self.database().await;
        let ended = sqlx::query("UPDATE operation SET lease_until = 0").execute(&mut db).await;
        ended.expect("nobody else writes");
        db.close().await.expect("closed");
    }

    /// One number of the store.
    pub async fn count(&self, sql: &'static str) -> i64 {
        let mut db = self.database().await;
        let count = sqlx::query_scalar(sql).fetch_one(&mut db).await;
        db.close().await.expect("closed");
        count.expect("the query fits the schema")
    }

    async fn database(&self) -> sqlx::SqliteConnection {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.warden.store());
        sqlx::SqliteConnection::connect_with(&options).await.expect("the store opens")
    }
}

/// How often Sentinels read INFO of the nodes, 10 s by default: only how long steering takes depends
/// on it.
pub async fn info_period(sentinels: &[String], ms: u32) {
    for sentinel in sentinels {
        let set = call(sentinel, &["SENTINEL", "DEBUG", "info-period", &ms.to_string()]).await;
        set.expect("a Sentinel of 7.0");
    }
}
