//! Read-only probes of a node's folder and process.
//!
//! Invariant: nothing is changed, and nothing is read but the files named here.

use std::fs;
use std::io::Read;
use std::path::Path;

use super::ProviderError;

/// A configuration file is some KiB; ACL lines make it longer, but never this long.
const CONF_BYTES_MAX: u64 = 1 << 20;

/// What a node's process and disk allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Descriptors the running process may open; none when it does not run.
    pub descriptors: Option<u64>,
    /// Bytes free on the disk that holds its folder.
    pub disk_free_bytes: Option<u64>,
}

pub(super) fn conf_text(path: &Path) -> Result<String, ProviderError> {
    let reading = || ProviderError::io(format!("reading {}", path.display()));
    let mut text = String::new();
    let file = fs::File::open(path).map_err(reading())?;
    let read = file.take(CONF_BYTES_MAX).read_to_string(&mut text).map_err(reading())?;
    if read as u64 == CONF_BYTES_MAX {
        let too_long = std::io::Error::other("it is longer than any configuration");
        return Err(reading()(too_long));
    }
    Ok(text)
}

pub(super) fn limits(dir: &Path, pid: Option<u32>) -> Result<Limits, ProviderError> {
    let reading = ProviderError::io(format!("reading limits of {}", dir.display()));
    let disk = rustix::fs::statvfs(dir).map_err(|e| reading(e.into()))?;
    let descriptors = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/limits")).ok());
    Ok(Limits {
        descriptors: descriptors.as_deref().and_then(soft_descriptors),
        disk_free_bytes: Some(disk.f_bavail * disk.f_frsize),
    })
}

/// The soft limit, which is the one in force: `Max open files  1024  524288  files`.
fn soft_descriptors(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|l| l.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_of_this_process_is_read() {
        let all = limits(Path::new("/tmp"), Some(std::process::id())).unwrap();
        assert!(all.descriptors.is_some_and(|n| n >= 256), "{all:?}");
        assert!(all.disk_free_bytes.is_some());
        assert_eq!(
            soft_descriptors("Max open files            unlimited   unlimited   files"),
            None
        );
    }
}
