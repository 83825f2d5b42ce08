//! One process per SQLite file: a lock file beside it that names its holder.
//!
//! The lock is the kernel's (released with the process however it ends); the text in the file is
//! only for the message.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::Error;

/// Held for the life of the store.
pub(crate) struct FileLock(File);

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing would do, but for a child process between its fork and its exec, which holds a
        // copy of the open file and with it the lock.
        let _ = self.0.unlock();
    }
}

/// Locks `<database>.lock`.
pub(crate) fn take(database: &Path) -> Result<FileLock, Error> {
    let path = database.with_extension("db.lock");
    let shown = path.display().to_string();
    let io = |e: std::io::Error| Error::NotWritable(format!("{shown}: {e}"));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(Error::NotWritable(format!(
                "{} is in use by process {}; one process per SQLite file (stop it, or use PostgreSQL)",
                database.display(),
                if pid.trim().is_empty() { "unknown" } else { pid.trim() }
            )));
        }
        Err(TryLockError::Error(e)) => return Err(io(e)),
    }
    // A full disk must not keep a monitoring process from starting: the text is a courtesy.
    let _ = file.seek(SeekFrom::Start(0));
    let _ = file.set_len(0);
    let _ = write!(file, "{}", std::process::id());
    Ok(FileLock(file))
}
