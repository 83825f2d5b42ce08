//! A small disk that a test fills up and frees again.
//!
//! Invariant: unmounted with its handle. Whoever has the right to mount has the test; who has not is
//! told that it was left out.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A disk of 8 MiB.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Mounts it; none, and said so, when this process may not mount.
    pub fn mount() -> Option<SmallDisk> {
        let dir = tempfile::tempdir().expect("tempdir");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status()
            .expect("mount is installed");
        if mounted.success() {
            return Some(SmallDisk(dir));
        }
        eprintln!("SKIPPED: a full disk needs the right to mount a tmpfs");
        None
    }

    /// Where it is mounted.
    pub fn dir(&self) -> &Path {
        self.0.path()
    }

    fn ballast(&self) -> PathBuf {
        self.dir().join("ballast")
    }

    /// Writes until nothing fits.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.ballast()).expect("ballast");
        let block = vec![0_u8; 4096];
        while file.write_all(&block).is_ok() {}
    }

    /// Gives the room back.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("ballast");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the process that uses it ends after this.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
