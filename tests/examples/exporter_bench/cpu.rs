//! What a process and a Redis have spent so far.

use std::process::Command;

/// User plus system time of a process, seconds. `/proc` counts in ticks of 10 ms.
pub fn of_process(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let after = stat.rsplit_once(')').expect("a command name").1;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |i: usize| fields[i].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

/// Time the threads of a process ran, seconds, to the nanosecond: a quiet Redis spends less than a
/// tick in a window.
pub fn of_threads(pid: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let ns = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0)
    };
    tasks.flatten().map(ns).sum::<f64>() / 1e9
}

/// A number of INFO.
pub fn info(host: &str, port: u16, section: &str, name: &str) -> f64 {
    let out = Command::new("redis-cli")
        .args(["-h", host, "-p", &port.to_string(), "INFO", section])
        .output()
        .expect("redis-cli runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let line = text.lines().find_map(|l| l.strip_prefix(&format!("{name}:")).map(str::to_string));
    line.and_then(|v| v.trim().parse().ok()).unwrap_or(0.0)
}

/// Resident memory, MiB.
pub fn rss_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: f64 = line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number");
    kib / 1024.0
}
