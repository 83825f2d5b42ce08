//! Replication and zones: would a failover work now, and would it lose anything.

use super::{ODD, WHOLE, YES_NO, chain, judged, missing_masters};
use crate::board::{Board, Color, Kind, Panel, panel};

/// The dashboard.
pub fn board() -> Board {
    super::board(
        "cw-replication",
        "cachewarden / Replication and zones",
        "/services",
        chain(),
        "Would a failover work now, would it lose anything, can a zone be lost.",
    )
    .row("Now", 4, now())
    .row("Replicas", 7, replicas())
    .row("Zones", 7, zones())
    .row("Sentinel", 7, sentinel())
    .row("Cluster", 7, cluster())
}

fn now() -> Vec<Panel> {
    vec![
        panel(Kind::Stat, "Missing masters", "none",
            "Masters that should be there and are not. Above 0: some keys cannot be written.")
            .q("missing", &missing_masters())
            .steps(Color::Ok, &[(1.0, Color::Crit)]),
        panel(Kind::Stat, "Two masters", "none",
            "Services with more masters than they should have. Writes go to both, and one side's will be lost: find out now which.")
            .q("services", "count(service:redis_masters:count{@s} > on (tenant, system, service) cachewarden_masters_expected{@s}) or vector(0)")
            .steps(Color::Ok, &[(1.0, Color::Crit)]).may_be_zero("no service of the test has two"),
        panel(Kind::Stat, "Replicas without link", "none",
            "Replicas whose link to the master is down. They serve old data and cannot take over without loss.")
            .q("down", "count(redis_master_link_up{@i} == 0) or vector(0)")
            .steps(Color::Ok, ODD).may_be_zero("every link of the test's fleet is up"),
        panel(Kind::Stat, "Largest lag", "bytes",
            "Bytes the slowest replica is behind: what a failover to it would lose.")
            .q("lag", "max(cachewarden_replica_lag_bytes{@i})")
            .steps(Color::Ok, &[(1_048_576.0, Color::Warn), (67_108_864.0, Color::Crit)])
            .may_be_zero("the replicas of a quiet fleet are not behind"),
        panel(Kind::Stat, "No quorum", "none",
            "Sentinels that could not authorise a failover. Any: repair the Sentinels first.")
            .q("no quorum", "count(redis_sentinel_master_ckquorum_status{@i} == 0) or vector(0)")
            .steps(Color::Ok, &[(1.0, Color::Crit)]).may_be_zero("the test's Sentinels agree"),
        panel(Kind::Stat, "Clusters not ok", "none",
            "Cluster nodes that say the cluster is down: keys cannot be reached.")
            .q("nodes", "count(redis_cluster_state{@i} == 0) or vector(0)")
            .steps(Color::Ok, &[(1.0, Color::Crit)]).may_be_zero("the test's cluster is well"),
    ]
}

fn replicas() -> Vec<Panel> {
    vec![
        panel(Kind::States, "Link to the master", "none",
            "Since when which replica has no link.")
            .q("{{instance}}", "max by (instance) (redis_master_link_up{@i})").words(YES_NO).wide(8),
        panel(Kind::Lines, "Lag in bytes", "bytes",
            "Bytes behind the master; the ten furthest behind.")
            .q("{{instance}}", "topk(10, max by (instance) (cachewarden_replica_lag_bytes{@i}))")
            .over_zero().wide(8).may_be_zero("the replicas of a quiet fleet are not behind"),
        judged(panel(Kind::Lines, "Lag in seconds", "s",
            "Seconds since a replica's last acknowledgement, as its master counts; the ten longest.")
            .q("{{slave_ip}}:{{slave_port}}", "topk(10, max by (slave_ip, slave_port) (redis_connected_slave_lag_seconds{@i}))")
            .over_zero().wide(8).may_be_zero("replicas on loopback acknowledge within the second"), "replica-lag"),
        panel(Kind::Table, "Who follows whom", "none",
            "Replicas with their masters as they say themselves, and whether they refuse writes.")
            .q("Link up", "max by (instance, zone, master_host, master_port) (redis_master_link_up{@i})")
            .q("Last heard", "max by (instance, zone, master_host, master_port) (redis_master_last_io_seconds_ago{@i})")
            .q("", "max by (instance, zone, master_host, master_port, read_only) (redis_slave_info{@i})")
            .column("Last heard", "s").sorted("Link up", false).opens("cw-instance", &["instance"]),
        panel(Kind::Lines, "Backlog", "bytes",
            "Bytes of replication a master keeps. A replica that was away longer than these bytes last must copy everything.")
            .q("kept", "sum(redis_repl_backlog_history_bytes{@i})")
            .q("size", "sum(redis_replication_backlog_bytes{@i})")
            .color("kept", Color::Info).color("size", Color::Unknown).over_zero().wide(6),
        panel(Kind::Lines, "Synchronisations, 1 h", "none",
            "Full copies, partial ones, and partial ones refused within the hour. Refused: the backlog is too small.")
            .q("full", "sum(clamp_min(delta(redis_replica_resyncs_full{@i}[1h]), 0))")
            .q("partial", "sum(clamp_min(delta(redis_replica_partial_resync_accepted{@i}[1h]), 0))")
            .q("refused", "sum(clamp_min(delta(redis_replica_partial_resync_denied{@i}[1h]), 0))")
            .color("full", Color::Warn).color("partial", Color::Info).color("refused", Color::Crit)
            .over_zero().wide(6).may_be_zero("the replicas were attached before the first scrape"),
    ]
}

fn zones() -> Vec<Panel> {
    vec![
        panel(Kind::Lines, "Reachable by zone", "percentunit",
            "Share of the instances of a zone whose INFO was read. One zone alone: its network or power.")
            .q("{{zone}}", "avg by (zone) (redis_up{@i})").between(0.0, 1.0).wide(8),
        panel(Kind::Table, "Share of a zone in a service", "percentunit",
            "Share of a service's nodes in its fullest zone, for services that promise to survive a zone. Above a half: losing that zone loses the majority.")
            .q("Share", "max by (tenant, system, service) (cachewarden_service_zone_share{@s})")
            .steps(Color::Ok, &[(0.51, Color::Warn), (0.99, Color::Crit)]).sorted("Share", true)
            .opens("cw-service", &["tenant", "system", "service"]).wide(8),
        panel(Kind::Stacked, "Masters by zone", "none",
            "Where the masters are. All in one zone: its loss is a failover of everything.")
            .q("{{zone}}", r#"count by (zone) (redis_instance_info{role="master",@i})"#)
            .over_zero().wide(8),
    ]
}

fn sentinel() -> Vec<Panel> {
    vec![
        panel(Kind::States, "Quorum", "none",
            "Whether a failover could be authorised, as each Sentinel says.")
            .q("{{master_name}} at {{instance}}", "max by (master_name, instance) (redis_sentinel_master_ckquorum_status{@i})")
            .words(YES_NO).wide(8),
        panel(Kind::Lines, "Good Sentinels and replicas", "none",
            "Those neither subjectively nor objectively down; the fewest any Sentinel sees.")
            .q("Sentinels of {{master_name}}", "min by (master_name) (redis_sentinel_master_ok_sentinels{@i})")
            .q("replicas of {{master_name}}", "min by (master_name) (redis_sentinel_master_ok_slaves{@i})")
            .over_zero().wide(8),
        panel(Kind::Table, "What Sentinels watch", "none",
            "The master each Sentinel knows, and its state there. Two addresses for one name: they disagree.")
            .q("Well", "max by (master_name, master_address, master_status) (redis_sentinel_master_status{@i})")
            .q("Sentinels", "max by (master_name, master_address) (redis_sentinel_master_sentinels{@i})")
            .q("Replicas", "max by (master_name, master_address) (redis_sentinel_master_slaves{@i})")
            .steps(Color::Crit, WHOLE).sorted("Well", false).wide(8),
        panel(Kind::Stat, "Failovers, 1 d", "none",
            "How often the epoch of a master's configuration grew within the day.")
            .q("{{master_name}}", "max by (master_name) (clamp_min(delta(redis_sentinel_master_config_epoch{@i}[1d]), 0))")
            .steps(Color::Ok, ODD).wide(8).may_be_zero("no failover happens in the test"),
    ]
}

fn cluster() -> Vec<Panel> {
    vec![
        panel(
            Kind::States,
            "Cluster state",
            "none",
            "Whether each node says that the cluster serves all slots.",
        )
        .q("{{instance}}", "max by (instance) (redis_cluster_state{@i})")
        .words(YES_NO)
        .wide(8),
        panel(
            Kind::Lines,
            "Slots not served",
            "none",
            "Unassigned, failed and suspected slots. Any: keys that cannot be reached.",
        )
        .q("unassigned", "16384 - min(redis_cluster_slots_assigned{@i})")
        .q("failed", "max(redis_cluster_slots_fail{@i})")
        .q("suspected", "max(redis_cluster_slots_pfail{@i})")
        .color("unassigned", Color::Crit)
        .color("failed", Color::Crit)
        .color("suspected", Color::Warn)
        .over_zero()
        .wide(8)
        .may_be_zero("the test's cluster serves all slots"),
        panel(
            Kind::Lines,
            "Nodes and epoch",
            "none",
            "Nodes known, masters with slots, and the epoch. An epoch that grows is a failover.",
        )
        .q("nodes of {{service}}", "max by (service) (redis_cluster_known_nodes{@i})")
        .q("masters of {{service}}", "max by (service) (redis_cluster_size{@i})")
        .q("epoch of {{service}}", "max by (service) (redis_cluster_current_epoch{@i})")
        .over_zero()
        .wide(8),
    ]
}
