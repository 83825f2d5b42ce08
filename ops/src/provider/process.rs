//! Processes: who one is, whether it still is, how it is started and told to end.
//!
//! Invariant: a process is named by pid, kernel start time and boot together, so a reused pid is
//! never taken for ours, and a signal goes through a pidfd checked after it was opened. Refuses to
//! know nodes and records.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// One process for all time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Process id.
    pub pid: u32,
    /// Clock ticks from boot to its start.
    pub start_ticks: u64,
    /// The kernel's id of this boot: ticks begin again with each.
    pub boot: String,
}

/// What `/proc/<pid>/stat` says.
struct Stat {
    zombie: bool,
    session: u32,
    start_ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, also parentheses and spaces.
    let words: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    // The first thread may be a zombie while the others still end, and hold the port until then.
    let threads: u32 = words.get(17)?.parse().ok()?;
    Some(Stat {
        zombie: matches!(*words.first()?, "Z" | "X" | "x") && threads <= 1,
        session: words.get(3)?.parse().ok()?,
        start_ticks: words.get(19)?.parse().ok()?,
    })
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_string())
}

/// Whether that very process still runs (stopped counts, dead and unreaped does not).
pub(super) fn runs(who: &Identity) -> bool {
    let same_boot = boot().is_ok_and(|b| b == who.boot);
    same_boot && stat(who.pid).is_some_and(|s| !s.zombie && s.start_ticks == who.start_ticks)
}

/// A process that was started for the node in `dir` but not written down, because we ended in
/// between: it runs `program`, works in `dir`, and leads its session (a server's own forked children
/// do not).
pub(super) fn unrecorded(dir: &Path, program: &Path) -> Option<Identity> {
    let (dir, program) = (fs::canonicalize(dir).ok()?, fs::canonicalize(program).ok()?);
    let boot = boot().ok()?;
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let link = |name: &str| fs::read_link(entry.path().join(name)).ok();
        if link("cwd").as_deref() != Some(&dir) || link("exe").as_deref() != Some(&program) {
            continue;
        }
        match stat(pid) {
            Some(s) if s.session == pid && !s.zombie => {
                return Some(Identity { pid, start_ticks: s.start_ticks, boot });
            }
            _ => {}
        }
    }
    None
}

/// Starts `program` in `dir`, in a session of its own: it hears nothing of our terminal and outlives
/// us. Its words go to the file `out`; its environment is clean.
pub(super) fn spawn(dir: &Path, program: &Path, args: &[String]) -> io::Result<(Child, Identity)> {
    let mut open = fs::OpenOptions::new();
    let out = open.append(true).create(true).mode(0o600).open(dir.join("out"))?;
    let path = std::env::var_os("PATH");
    let path = path.as_deref().unwrap_or(OsStr::new("/usr/bin:/bin"));
    // The child is no group leader, so setsid makes the session in place and the pid stays.
    let mut child = Command::new("setsid")
        .arg(program)
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("PATH", path)
        .env("LANG", "C")
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .spawn()
        .map_err(|e| io::Error::new(e.kind(), format!("setsid (package util-linux): {e}")))?;
    let pid = child.id();
    // Unreaped until we wait for it, so the entry is there even if it ended at once.
    let identity = stat(pid)
        .ok_or_else(|| io::Error::other(format!("process {pid} is not in /proc")))
        .and_then(|s| Ok(Identity { pid, start_ticks: s.start_ticks, boot: boot()? }));
    match identity {
        Ok(identity) => Ok((child, identity)),
        Err(e) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(e)
        }
    }
}

/// Sends a signal to that very process; one that is gone already is no error.
pub(super) fn signal(who: &Identity, signal: Signal) -> io::Result<()> {
    let gone =
        |e: rustix::io::Errno| if e == rustix::io::Errno::SRCH { Ok(()) } else { Err(e.into()) };
    let Some(pid) = i32::try_from(who.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(e) => return gone(e),
    };
    // Looked at with the handle open: from here on the handle means this process and no later one.
    if !runs(who) {
        return Ok(());
    }
    pidfd_send_signal(&handle, signal).or_else(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Identity {
        let pid = std::process::id();
        Identity { pid, start_ticks: stat(pid).unwrap().start_ticks, boot: boot().unwrap() }
    }

    #[test]
    fn a_process_with_our_pid_but_another_start_is_not_ours() {
        assert!(runs(&me()));
        assert!(!runs(&Identity { start_ticks: me().start_ticks + 1, ..me() }));
        assert!(!runs(&Identity { boot: "another boot".into(), ..me() }));
    }

    #[test]
    fn a_signal_for_an_older_process_of_the_same_pid_reaches_nobody() {
        let older = Identity { start_ticks: 1, ..me() };
        signal(&older, Signal::KILL).unwrap();
    }
}
