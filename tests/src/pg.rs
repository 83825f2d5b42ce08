//! A throw-away PostgreSQL on loopback, in a folder of its own, stopped when dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::fleet::{free_port, program};
use crate::wait;

/// A running server with an empty database `cachewarden`.
pub struct Postgres {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

/// The server refuses to run as root: as root, commands run as the package's user.
fn command(name: &str) -> Command {
    let program = program(name);
    let root = Path::new("/proc/self").metadata().is_ok_and(|m| {
        use std::os::unix::fs::MetadataExt;
        m.uid() == 0
    });
    if !root {
        return Command::new(program);
    }
    // setpriv replaces itself by the program, so the child's pid is the server's.
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
    command
}

fn run(mut command: Command) {
    let out = command.stdin(Stdio::null()).output().expect("the command starts");
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}

impl Postgres {
    /// Starts a server and waits until it answers.
    pub async fn start() -> Postgres {
        let dir = tempfile::Builder::new().prefix("cw-pg-").tempdir().expect("tempdir");
        let data: PathBuf = dir.path().join("data");
        std::fs::create_dir(&data).expect("data folder");
        for path in [dir.path(), &data] {
            // As another user this changes nothing and may fail; initdb says so then.
            let _ = Command::new("chown").arg("postgres").arg(path).stderr(Stdio::null()).status();
        }
        let mut init = command("initdb");
        init.current_dir(dir.path()).arg("-D").arg(&data);
        init.args(["-U", "cachewarden", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"]);
        run(init);
        let port = free_port("127.0.0.1");
        let mut server = command("postgres");
        server.current_dir(dir.path()).arg("-D").arg(&data).args(["-p", &port.to_string()]);
        for set in ["listen_addresses=127.0.0.1", "fsync=off", "unix_socket_directories="] {
            server.args(["-c", set]);
        }
        let child = server
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres starts");
        let pg = Postgres { child, port, dir };
        wait::until("PostgreSQL answers", || async {
            pg.psql("postgres", "SELECT 1").status.success().then_some(())
        })
        .await;
        let made = pg.psql("postgres", "CREATE DATABASE cachewarden");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        pg
    }

    fn psql(&self, database: &str, sql: &str) -> std::process::Output {
        Command::new(program("psql"))
            .args(["-h", "127.0.0.1", "-U", "cachewarden", "-d", database, "-X", "-c", sql])
            .args(["-p", &self.port.to_string()])
            .stdin(Stdio::null())
            .output()
            .expect("psql starts")
    }

    /// `postgres://…` of a second database, which orders text as far from byte order as it gets:
    /// by the rules of a language, punctuation passed over.
    pub fn spoken_url(&self) -> String {
        let sql = "CREATE DATABASE spoken TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' \
                   LOCALE_PROVIDER icu ICU_LOCALE 'en-US-u-ka-shifted'";
        let made = self.psql("postgres", sql);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        format!("postgres://cachewarden@127.0.0.1:{}/spoken", self.port)
    }

    /// `postgres://…` of the database.
    pub fn url(&self) -> String {
        format!("postgres://cachewarden@127.0.0.1:{}/cachewarden", self.port)
    }

    /// Runs `sql` in a session of its own and keeps it, with whatever it locks, until it is dropped.
    pub async fn hold(&self, sql: &str) -> Session {
        let mut child = Command::new(program("psql"))
            .args(["-h", "127.0.0.1", "-U", "cachewarden", "-d", "cachewarden", "-X", "-q"])
            .args(["-p", &self.port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("psql starts");
        let marker = self.dir.path().join("held");
        let _ = std::fs::remove_file(&marker);
        let said = format!("{sql}\n\\! touch {}\n", marker.display());
        let stdin = child.stdin.as_mut().expect("a pipe");
        std::io::Write::write_all(stdin, said.as_bytes()).expect("psql listens");
        wait::until("psql has done it", || async { marker.exists().then_some(()) }).await;
        Session(child)
    }

    /// SIGSTOP for the server and every process of it: connections stay open and nothing answers.
    pub fn freeze(&self) {
        // The parent first: it would start others.
        signal("-STOP", &self.processes());
        signal("-STOP", &self.processes());
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        signal("-CONT", &self.processes());
    }

    fn processes(&self) -> Vec<String> {
        let parent = self.child.id().to_string();
        let listed = std::fs::read_dir("/proc").expect("/proc").flatten();
        let children = listed.filter_map(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let after = stat.rsplit_once(") ")?.1;
            let is_ours = after.split(' ').nth(1)? == parent;
            is_ours.then(|| entry.file_name().to_string_lossy().into_owned())
        });
        let children: Vec<String> = children.collect();
        std::iter::once(parent.clone()).chain(children).collect()
    }

    /// Where it lives.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.thaw();
        // SIGINT is PostgreSQL's fast shutdown; SIGKILL would leave its children behind.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        let _ = self.child.wait();
    }
}

/// A session of psql that is kept open.
pub struct Session(Child);

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn signal(name: &str, pids: &[String]) {
    let _ = Command::new("kill").arg(name).args(pids).stderr(Stdio::null()).status();
}
