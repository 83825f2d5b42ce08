//! The demonstration's Redis: three services over three loopback zones, made through the local
//! provider, so that each node has its record and can be restarted by an operation.
//!
//! Zones are 127.0.1.1, 127.0.2.1 and 127.0.3.1; every port is a free one.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use link::{Link, reply};
use ops::provider::{Control, Line, Local, NodeKind, NodeRef, NodeSpec};

use super::load::{self, Finder};

/// Addresses of the zones az-1, az-2 and az-3.
pub(super) const ZONES: [&str; 3] = ["127.0.1.1", "127.0.2.1", "127.0.3.1"];
/// Name of the master at the Sentinels.
pub(super) const MASTER_NAME: &str = "cart";

/// Ports stay below the kernel's ephemeral range (32768), where no outgoing connection takes one
/// between choosing and binding, and leave room for the cluster bus at +10000.
const PORTS: std::ops::Range<u16> = 17_000..22_000;
const CALL_MAX: Duration = Duration::from_secs(2);
/// Forming takes about 3 s; a loaded machine must not make it fail.
const FORM_MAX: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Every node, by address.
pub(super) struct Fleet {
    local: Local,
    program: PathBuf,
    next_port: u16,
    /// `demo.solo`.
    pub solo: String,
    /// `demo.cart`: the first master, then its replicas.
    pub cart: Vec<String>,
    /// Its Sentinels, one per zone.
    pub sentinels: Vec<String>,
    /// `demo.catalog`: three masters, then their replicas.
    pub catalog: Vec<String>,
}

impl Fleet {
    /// Starts all processes and forms the Sentinel service and the cluster.
    pub(super) async fn start(dir: &Path, program: &Path) -> anyhow::Result<Fleet> {
        let mut fleet = Fleet {
            local: Local::open(dir)?,
            program: program.into(),
            next_port: PORTS.start + (std::process::id() % 2_000) as u16,
            solo: String::new(),
            cart: Vec::new(),
            sentinels: Vec::new(),
            catalog: Vec::new(),
        };
        if let Err(e) = fleet.start_all().await {
            fleet.stop().await;
            return Err(e);
        }
        Ok(fleet)
    }

    async fn start_all(&mut self) -> anyhow::Result<()> {
        let small = || vec![Line::new("save", [""]), Line::new("maxmemory", ["64mb"])];
        self.solo = self.node(0, NodeKind::Data, small()).await?;
        self.start_cart(small()).await?;
        self.start_catalog(small()).await?;
        self.form_cluster().await?;
        self.await_cart().await
    }

    async fn start_cart(&mut self, lines: Vec<Line>) -> anyhow::Result<()> {
        let master = self.node(0, NodeKind::Data, lines.clone()).await?;
        let (host, port) = master.rsplit_once(':').context("an address has a port")?;
        let (host, port) = (host.to_string(), port.to_string());
        self.cart.push(master);
        for zone in [1, 2] {
            let mut of = lines.clone();
            of.push(Line::new("replicaof", [host.clone(), port.clone()]));
            of.push(Line::new("repl-diskless-sync-delay", ["0"]));
            let replica = self.node(zone, NodeKind::Data, of).await?;
            self.cart.push(replica);
        }
        for zone in 0..3 {
            let watch =
                ["monitor".to_string(), MASTER_NAME.into(), host.clone(), port.clone(), "2".into()];
            let set = |name: &str, value: &str| Line::new("sentinel", [name, MASTER_NAME, value]);
            let lines = vec![
                Line::new("sentinel", watch),
                set("down-after-milliseconds", "5000"),
                set("failover-timeout", "20000"),
            ];
            let sentinel = self.node(zone, NodeKind::Sentinel, lines).await?;
            self.sentinels.push(sentinel);
        }
        Ok(())
    }

    /// Shard i has its master in zone i and its replica in the next one.
    async fn start_catalog(&mut self, lines: Vec<Line>) -> anyhow::Result<()> {
        for zone in [0, 1, 2, 1, 2, 0] {
            let mut of = lines.clone();
            of.push(Line::new("cluster-node-timeout", ["5000"]));
            of.push(Line::new("cluster-require-full-coverage", ["no"]));
            of.push(Line::new("repl-diskless-sync-delay", ["0"]));
            let node = self.node(zone, NodeKind::Cluster, of).await?;
            self.catalog.push(node);
        }
        Ok(())
    }

    async fn node(
        &mut self,
        zone: usize,
        kind: NodeKind,
        lines: Vec<Line>,
    ) -> anyhow::Result<String> {
        let address = format!("{}:{}", ZONES[zone], self.free_port(ZONES[zone])?);
        let spec =
            NodeSpec { address: address.clone(), kind, lines, program: self.program.clone() };
        let node = self.local.create(spec).await?;
        self.local.control(&node, Control::Start, "demo").await?;
        until(&format!("{address} answers"), async || {
            let mut link = load::dial(&address).await?;
            link.call(&["PING"], CALL_MAX).await.ok().map(drop)
        })
        .await?;
        Ok(address)
    }

    fn free_port(&mut self, host: &str) -> anyhow::Result<u16> {
        let free = |port: u16| TcpListener::bind((host, port)).is_ok();
        while self.next_port < PORTS.end {
            let port = self.next_port;
            self.next_port += 1;
            if free(port) && free(port + 10_000) {
                return Ok(port);
            }
        }
        bail!("no free port between {} and {} on {host}", PORTS.start, PORTS.end)
    }

    async fn form_cluster(&self) -> anyhow::Result<()> {
        let (first_host, first_port) =
            self.catalog[0].rsplit_once(':').context("an address has a port")?;
        for (node, from, to) in [(0, "0", "5460"), (1, "5461", "10922"), (2, "10923", "16383")] {
            let epoch = (node + 1).to_string();
            let mut link = self.link(&self.catalog[node]).await?;
            link.call(&["CLUSTER", "ADDSLOTSRANGE", from, to], CALL_MAX).await?;
            link.call(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch], CALL_MAX).await?;
        }
        for address in &self.catalog[1..] {
            let meet = ["CLUSTER", "MEET", first_host, first_port];
            self.link(address).await?.call(&meet, CALL_MAX).await?;
        }
        self.await_cluster_info("cluster_known_nodes:6").await?;
        for (replica, master) in self.catalog[3..].iter().zip(&self.catalog[..3]) {
            let id = self.link(master).await?.call(&["CLUSTER", "MYID"], CALL_MAX).await?;
            let id = reply::text(&id).context("CLUSTER MYID answers text")?;
            // Repeated until gossip has told the replica who the master is.
            until(&format!("{replica} follows {master}"), async || {
                let mut link = load::dial(replica).await?;
                link.call(&["CLUSTER", "REPLICATE", &id], CALL_MAX).await.ok().map(drop)
            })
            .await?;
        }
        self.await_cluster_info("cluster_state:ok").await?;
        for address in &self.catalog[3..] {
            self.await_link_up(address).await?;
        }
        Ok(())
    }

    async fn await_cluster_info(&self, wanted: &str) -> anyhow::Result<()> {
        for address in &self.catalog {
            until(&format!("{address} says {wanted}"), async || {
                let mut link = load::dial(address).await?;
                let info = link.call(&["CLUSTER", "INFO"], CALL_MAX).await.ok()?;
                reply::text(&info)?.contains(wanted).then_some(())
            })
            .await?;
        }
        Ok(())
    }

    async fn await_link_up(&self, address: &str) -> anyhow::Result<()> {
        until(&format!("{address} is in sync"), async || {
            let mut link = load::dial(address).await?;
            let info = link.call(&["INFO", "replication"], CALL_MAX).await.ok()?;
            reply::text(&info)?.contains("master_link_status:up").then_some(())
        })
        .await
    }

    async fn await_cart(&self) -> anyhow::Result<()> {
        for address in &self.cart[1..] {
            self.await_link_up(address).await?;
        }
        for address in &self.sentinels {
            until(&format!("Sentinel {address} knows the others"), async || {
                let mut link = load::dial(address).await?;
                let info = link.call(&["INFO", "sentinel"], CALL_MAX).await.ok()?;
                reply::text(&info)?.contains("slaves=2,sentinels=3").then_some(())
            })
            .await?;
        }
        Ok(())
    }

    async fn link(&self, address: &str) -> anyhow::Result<Link> {
        load::dial(address).await.with_context(|| format!("{address} does not answer"))
    }

    /// How clients find each service's master.
    pub(super) fn finders(&self) -> [Finder; 3] {
        let sentinels = self.sentinels.clone();
        [
            Finder::Fixed(self.solo.clone()),
            Finder::Sentinel { sentinels, name: MASTER_NAME.into() },
            Finder::Cluster(self.catalog.clone()),
        ]
    }

    /// Present master of the Sentinel service and its replicas, as its nodes say by ROLE.
    pub(super) async fn cart_roles(&self) -> (Option<String>, Vec<String>) {
        let mut master = None;
        let mut replicas = Vec::new();
        for address in &self.cart {
            let Some(mut link) = load::dial(address).await else { continue };
            let Ok(role) = link.call(&["ROLE"], CALL_MAX).await else { continue };
            match reply::role::read(&role).map(|r| r.role()) {
                Some(model::reading::Role::Master) => master = Some(address.clone()),
                _ => replicas.push(address.clone()),
            }
        }
        (master, replicas)
    }

    /// What `kill -9` does to a node.
    pub(super) async fn kill(&self, address: &str) -> anyhow::Result<()> {
        Ok(self.local.control(&node(address), Control::Kill, "demo").await?)
    }

    /// What an operator does to bring it back.
    pub(super) async fn start_again(&self, address: &str) -> anyhow::Result<()> {
        Ok(self.local.control(&node(address), Control::Start, "demo").await?)
    }

    /// The process behind a node, when it runs.
    pub(super) async fn pid(&self, address: &str) -> Option<u32> {
        self.local.observe(&node(address)).await.ok()?.pid
    }

    /// Ends every process and removes every folder; goes on past what cannot be ended.
    pub(super) async fn stop(&self) {
        for node in self.local.nodes().unwrap_or_default() {
            if let Err(e) = self.local.release(&node).await {
                eprintln!("demo: {}: {e}", node.address);
            }
        }
    }
}

fn node(address: &str) -> NodeRef {
    NodeRef { address: address.into() }
}

/// Asks until the answer comes; an error naming what was awaited after `FORM_MAX`.
pub(super) async fn until<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> anyhow::Result<T> {
    until_within(what, FORM_MAX, ask).await
}

/// `until` with its own patience.
pub(super) async fn until_within<T>(
    what: &str,
    patience: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let end = tokio::time::Instant::now() + patience;
    loop {
        if let Some(found) = ask().await {
            return Ok(found);
        }
        if tokio::time::Instant::now() >= end {
            bail!("not within {} s: {what}", patience.as_secs());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
