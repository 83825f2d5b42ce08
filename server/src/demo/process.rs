//! Child processes of the demonstration: each in its own process group (Ctrl-C reaches only us, we
//! stop them in order), output in a file, ended by pid.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

/// SIGTERM first; a program that does not end by then is killed.
const GRACE: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A child process.
pub(super) struct Process {
    name: &'static str,
    program: PathBuf,
    args: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Starts `program`, its output appended to `log`.
    pub(super) fn start(
        name: &'static str,
        program: &Path,
        args: Vec<String>,
        log: PathBuf,
    ) -> anyhow::Result<Process> {
        let mut process = Process { name, program: program.into(), args, log, child: None };
        process.start_again()?;
        Ok(process)
    }

    /// Starts it anew after it ended.
    pub(super) fn start_again(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.program)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Where its output goes.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// An error with the end of its log when it is no longer running.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        let ended = self.child.as_mut().and_then(|c| c.try_wait().ok().flatten());
        let Some(status) = ended else { return Ok(()) };
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        anyhow::bail!("{} ended ({status}):\n{}", self.name, tail.join("\n"))
    }

    /// `kill -9`, and waits for the end.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, then SIGKILL after the grace.
    pub(super) fn stop(&mut self) {
        let Some(child) = self.child.as_mut() else { return };
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        let end = Instant::now() + GRACE;
        while Instant::now() < end {
            if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
                self.child = None;
                return;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        self.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
