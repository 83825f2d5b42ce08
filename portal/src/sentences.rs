//! The sentences of the judgement in Chinese: they are made in English beside the numbers they tell
//! of, and read by people here.
//!
//! Invariant: only what is recognised whole is put into the other language; every number, name and
//! unit of it is carried over as it stands, and a sentence nobody put in the table stays English.

use crate::frame::Lang;

/// How often a sentence may hold another: service, shard, node, gate, reason.
const DEPTH_MAX: u32 = 6;

/// The sentence in the language. `text` is data: what comes out is escaped like it.
pub(crate) fn said(lang: Lang, text: &str) -> String {
    match lang {
        Lang::En => text.to_owned(),
        Lang::ZhCn => chinese(text.trim(), 0).unwrap_or_else(|| text.to_owned()),
    }
}

fn chinese(text: &str, depth: u32) -> Option<String> {
    if depth > DEPTH_MAX {
        return None;
    }
    let (holes, there) = SENTENCES.iter().find_map(|(en, zh)| Some((fill(en, text)?, *zh)))?;
    let inner = |hole: &str| chinese(hole, depth + 1).unwrap_or_else(|| hole.to_owned());
    let mut parts = there.split("{}");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for (hole, part) in holes.iter().zip(parts) {
        out.push_str(&inner(hole));
        out.push_str(part);
    }
    Some(out)
}

/// What stands in the holes of `pattern` when `text` is one of its sentences.
fn fill<'t>(pattern: &str, text: &'t str) -> Option<Vec<&'t str>> {
    let mut words = pattern.split("{}");
    let mut rest = text.strip_prefix(words.next()?)?;
    let mut words: Vec<&str> = words.collect();
    let Some(last) = words.pop() else { return rest.is_empty().then(Vec::new) };
    let mut holes = Vec::new();
    for word in words {
        let (hole, after) = rest.split_once(word)?;
        holes.push(hole);
        rest = after;
    }
    holes.push(rest.strip_suffix(last)?);
    holes.iter().all(|h| !h.is_empty()).then_some(holes)
}

/// English with its holes, and the same in Chinese with the holes in the same order. The first that
/// fits counts: the longer stand before the shorter.
const SENTENCES: &[(&str, &str)] = &[
    ("the master {} is lost: {}", "主节点 {} 丢失：{}"),
    ("it has no replica elsewhere", "别处没有它的副本"),
    ("nobody promotes a replica of a standalone service", "单机服务的副本无人提升"),
    ("nobody can decide about a new master", "无人能够选出新的主节点"),
    ("no replica elsewhere could take over", "别处没有可以接管的副本"),
    ("no automatic failover: {}", "无法自动切换：{}"),
    (
        "{} of {} masters are left: the cluster stops, and nobody can promote",
        "剩余 {} 个主节点，共 {} 个：集群停止，且无法提升副本",
    ),
    ("{} of {} Sentinels are left", "剩余 {} 个 Sentinel，共 {} 个"),
    ("shard {} has no master now either", "分片 {} 现在也没有主节点"),
    (
        "{} refuses writes: {} replicas are left, min-replicas-to-write is {}",
        "{} 拒绝写入：剩余 {} 个副本，min-replicas-to-write 为 {}",
    ),
    ("the cluster stops as a whole: full coverage is required", "集群整体停止：要求覆盖全部哈希槽"),
    ("{} of {} shards are lost, the others go on", "丢失 {} 个分片，共 {} 个，其余继续服务"),
    ("shard {}: {} of {} required replicas", "分片 {}：仅 {} 个副本，应有 {} 个"),
    ("shard {}: all its members stand in one zone", "分片 {}：全部成员位于同一可用区"),
    ("{} of {} probes failed", "探测失败 {} 次，共 {} 次"),
    ("PING takes {} ms (99th percentile)", "PING 耗时 {} 毫秒（99 分位）"),
    ("the link to its master has been down for {} s", "与主节点的复制连接已断开 {} 秒"),
    ("{} behind its master, backlog is {}", "落后主节点 {}，复制积压缓冲区为 {}"),
    ("{} of {} replicas missing", "缺少 {} 个副本，应有 {} 个"),
    ("{} of {} replica missing", "缺少 {} 个副本，应有 {} 个"),
    ("{} unplanned restarts and role changes in 24 h", "24 小时内 {} 次非计划重启或角色变更"),
    ("the latest write to the append-only file failed", "最近一次写入 AOF 文件失败"),
    ("the latest background save failed", "最近一次后台保存失败"),
    ("the latest rewrite of the append-only file failed", "最近一次 AOF 重写失败"),
    ("{} of the hash slots are not served", "{} 的哈希槽无法访问"),
    ("a node or slot is suspected to fail (pfail)", "有节点或槽疑似故障（pfail）"),
    ("{} keys evicted in the window, {} of commands", "窗口内淘汰 {} 个键，占命令数 {}"),
    ("memory is fragmented {} times, {} lost", "内存碎片率 {} 倍，损失 {}"),
    ("memory is full today", "内存今天将用满"),
    ("full in {} days", "{} 天后用满"),
    ("overhead is {} of maxmemory", "额外开销占 maxmemory 的 {}"),
    (
        "only {} of used memory is resident: swapping is suspected",
        "已用内存仅 {} 常驻：疑似发生交换",
    ),
    ("{} of maxclients ({} of {})", "达到 maxclients 的 {}（{} / {}）"),
    ("{} of maxclients", "达到 maxclients 的 {}"),
    ("{} connections rejected in the window", "窗口内拒绝 {} 个连接"),
    ("{} new connections per second", "每秒新建 {} 个连接"),
    ("{} times the usual number of connections", "连接数为平时的 {} 倍"),
    ("{} of clients are blocked", "{} 的客户端被阻塞"),
    (
        "{} clients cut off at their output buffer limit, buffers hold {} of maxmemory",
        "{} 个客户端因输出缓冲区超限被断开，缓冲区占 maxmemory 的 {}",
    ),
    ("client buffers hold {} of maxmemory", "客户端缓冲区占 maxmemory 的 {}"),
    (
        "maxmemory is not set; {} of host memory is resident ({})",
        "未设置 maxmemory；占主机内存 {}（{}）",
    ),
    ("used {} of maxmemory ({}), {}", "已用 maxmemory 的 {}（{}），{}"),
    ("used {} of maxmemory ({})", "已用 maxmemory 的 {}（{}）"),
    ("{} of host memory is resident ({})", "占主机内存 {}（{}）"),
    (
        "a fork would need {} of host memory, copy-on-write estimated",
        "fork 需要主机内存的 {}（写时复制为估计值）",
    ),
    ("a fork would need {} of host memory", "fork 需要主机内存的 {}"),
    (
        "{} slow commands/min (counted from the server's limit of {} ms)",
        "每分钟 {} 条慢命令（按服务器阈值 {} 毫秒统计）",
    ),
    ("{} slow commands/min", "每分钟 {} 条慢命令"),
    ("slow commands block at least {} of the time", "慢命令至少阻塞 {} 的时间"),
    ("slow commands block {} of the time", "慢命令阻塞 {} 的时间"),
    ("the slowest command took at least {} ms", "最慢的命令至少耗时 {} 毫秒"),
    ("the slowest command took {} ms", "最慢的命令耗时 {} 毫秒"),
    ("busiest commands take {} ms (99th percentile)", "最繁忙的命令耗时 {} 毫秒（99 分位）"),
    ("the main thread uses {} of a processor", "主线程占用处理器的 {}"),
    (
        "{} latency spikes of 100 ms or more in the last hour",
        "近一小时 {} 次 100 毫秒以上的延迟尖峰",
    ),
    ("the latest fork stopped it for {} ms", "最近一次 fork 使其停顿 {} 毫秒"),
    ("the slow log is switched off", "慢日志已关闭"),
    (
        "the slow log starts at {} ms, above 100 ms it is blind",
        "慢日志阈值为 {} 毫秒，超过 100 毫秒即失去作用",
    ),
    ("the slow log is blind", "慢日志不可用"),
    (
        "another writable master claims the same data: writes are being lost",
        "另有可写主节点声称拥有相同数据：写入正在丢失",
    ),
    (
        "this master refuses writes (MISCONF, NOREPLICAS or READONLY)",
        "该主节点拒绝写入（MISCONF、NOREPLICAS 或 READONLY）",
    ),
    ("it is loading its data and serves nobody", "正在加载数据，无法提供服务"),
    (
        "writes were refused within the window: memory is full (OOM)",
        "窗口内写入被拒绝：内存已满（OOM）",
    ),
    (
        "connections were refused within the window: maxclients is reached",
        "窗口内连接被拒绝：已达 maxclients",
    ),
    ("no master serves this shard", "该分片没有主节点提供服务"),
    (
        "two writable masters claim this shard: writes are being lost",
        "两个可写主节点声称拥有该分片：写入正在丢失",
    ),
    ("automatic failover is impossible now: {}", "当前无法自动故障转移：{}"),
    ("no replica could take over", "没有副本可以接管"),
    ("none of the required replicas is healthy", "所需副本均不健康"),
    ("all its members stand in one zone, three are wanted", "所有成员位于同一可用区，要求三个"),
    (
        "{} of the slots are not served, and full coverage is required: nothing is",
        "{} 的槽无法访问，且要求全覆盖：整个集群不可用",
    ),
    ("{} of the slots are not served", "{} 的槽无法访问"),
    ("no more than 20 above core {} ({})", "不得高于核心服务 {}（{}）20 分以上"),
    ("no member is a master", "没有成员是主节点"),
    ("a required replica does not exist", "缺少一个必需的副本"),
    ("down: {}", "宕机：{}"),
    ("{} failed polls in a row ({}); {}", "连续 {} 次轮询失败（{}）；{}"),
    ("the port refuses connections", "端口拒绝连接"),
    ("others agree that it is gone", "其他节点也确认其失联"),
    ("no answer since it went down", "宕机后一直无响应"),
    ("was down before", "此前已宕机"),
    ("its zone answers, nobody else to ask", "同可用区其他实例有响应，且无其他可询问者"),
    ("whether it is up is not known: {}", "无法确定是否存活：{}"),
    ("its master ({}) is unknown", "其主节点（{}）状态未知"),
    ("not all of its nodes were polled yet", "尚未轮询其全部节点"),
    ("its nodes are not sorted into shards yet", "其节点尚未归入分片"),
    ("there is nothing to score here yet", "暂无可评分的内容"),
    ("not scored yet", "尚未评分"),
    ("nothing of it is known yet: {}", "其状况完全未知：{}"),
    ("nothing of it is known yet", "其状况完全未知"),
    ("only {} of it by weight is known, at least 60 % are needed", "按权重仅知 {}，至少需要 60 %"),
    (
        "only {} of what the score is made from could be read, at least 60 % are needed",
        "评分所需数据仅读到 {}，至少需要 60 %",
    ),
    ("bring {} replicas back", "恢复 {} 个副本"),
    ("bring {} replica back", "恢复 {} 个副本"),
    ("raise maxmemory from {} to {}", "将 maxmemory 从 {} 提高到 {}"),
    ("raise maxclients from {} to {}", "将 maxclients 从 {} 提高到 {}"),
    ("get rid of the slow commands", "消除慢命令"),
    ("get rid of slow {} commands", "消除慢命令 {}"),
    ("clear the cause of {}", "消除 {} 的原因"),
    ("{} masters in one shard", "同一分片有 {} 个主节点"),
    ("{} and {} on one host", "{} 与 {} 位于同一主机"),
    ("all {} nodes in zone {}", "全部 {} 个节点位于可用区 {}"),
    ("{} holds {} of the masters", "{} 承载了 {} 的主节点"),
    ("Switch over to {}", "切换到 {}"),
    ("Restart {}, which does not answer", "重启无响应的 {}"),
    ("Make {} the master instead of {}", "将 {} 设为主节点，替换 {}"),
    ("{} asked for by {}", "{}（由 {} 发起）"),
    ("{} fires for {}", "{} 触发：{}"),
    ("{} ended for {}", "{} 结束：{}"),
    ("{}: done", "{}：已完成"),
    ("{}: unwound", "{}：已撤销"),
    ("{}: stuck", "{}：卡住，需人工处理"),
    ("{}: refused", "{}：已拒绝"),
    ("{}: cancelled", "{}：已取消"),
    ("not_polled_yet", "尚未轮询"),
    ("observer_isolated", "监控端自身被隔离"),
    ("worst, {} {} at {}: {}", "最差的{} {}，得分 {}：{}"),
    ("worst, {} {} at {}", "最差的{} {}，得分 {}"),
    ("master {} at {}: {}", "主节点 {}，得分 {}：{}"),
    ("replica {} at {}: {}", "副本 {}，得分 {}：{}"),
    ("shard {} at {}: {}", "分片 {}，得分 {}：{}"),
    ("service {} at {}: {}", "服务 {}，得分 {}：{}"),
    ("system {} at {}: {}", "业务系统 {}，得分 {}：{}"),
    ("tenant {} at {}: {}", "租户 {}，得分 {}：{}"),
    ("master {} at {}", "主节点 {}，得分 {}"),
    ("replica {} at {}", "副本 {}，得分 {}"),
    ("shard {} at {}", "分片 {}，得分 {}"),
    ("service {} at {}", "服务 {}，得分 {}"),
    ("system {} at {}", "业务系统 {}，得分 {}"),
    ("tenant {} at {}", "租户 {}，得分 {}"),
    ("instance {} at {}", "实例 {}，得分 {}"),
    ("{} on {}", "{}（{}）"),
    ("all parts of it together", "其所有部分合计"),
    ("its worst part", "其最差的部分"),
    ("the store is not available", "存储不可用"),
    (
        "only a part of it is in your scope, and history is kept of the whole",
        "您的权限只覆盖其中一部分，而历史按整体保存",
    ),
    ("there was no number at that time", "当时没有分数"),
    ("master", "主节点"),
    ("replica", "副本"),
    ("shard", "分片"),
    ("service", "服务"),
    ("system", "业务系统"),
    ("tenant", "租户"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_within_a_sentence_is_said_in_chinese_with_its_numbers() {
        for (en, zh) in [
            ("2 of 20 probes failed", "探测失败 2 次，共 20 次"),
            (
                "shard pay.cart/0 at 61.00: used 88 % of maxmemory (8.8 of 10.0 GB), noeviction",
                "分片 pay.cart/0，得分 61.00：已用 maxmemory 的 88 %（8.8 of 10.0 GB），noeviction",
            ),
            (
                "down: 3 failed polls in a row (connect); the port refuses connections",
                "宕机：连续 3 次轮询失败（connect）；端口拒绝连接",
            ),
            (
                "worst, shard pay.cart/0 at 40.00: no master serves this shard",
                "最差的分片 pay.cart/0，得分 40.00：该分片没有主节点提供服务",
            ),
            ("a sentence nobody knows", "a sentence nobody knows"),
        ] {
            assert_eq!(said(Lang::ZhCn, en), zh);
            assert_eq!(said(Lang::En, en), en);
        }
    }

    #[test]
    fn every_sentence_has_as_many_holes_in_both_languages() {
        for (en, zh) in SENTENCES {
            assert_eq!(en.matches("{}").count(), zh.matches("{}").count(), "{en}");
        }
    }

    #[test]
    fn no_text_however_deep_is_followed_without_end() {
        let deep = "down: ".repeat(1_000);
        assert!(said(Lang::ZhCn, &deep).contains("down: "));
    }
}
