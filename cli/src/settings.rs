//! Which server and whose token: flag, environment, then the file `login` wrote.
//!
//! Invariant: the file is readable by its owner only; a file others may read is refused, not used.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::args::ServerArgs;
use crate::fail::Fail;

/// Where a server listens when nobody says otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:9850";

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Address of the server.
    pub url: Option<String>,
    /// Token.
    pub token: Option<String>,
}

/// Server and token of this run.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Base URL without a slash at its end.
    pub url: String,
    /// Token; none: not signed in.
    pub token: Option<String>,
}

impl Settings {
    /// Takes flags and environment (clap did both), then the file. A kept token goes to the server
    /// it was made by, and to no other.
    pub fn resolve(args: &ServerArgs, kept: Kept) -> Settings {
        let trim = |u: &str| u.trim_end_matches('/').to_string();
        let kept_url = kept.url.as_deref().map(trim);
        let url = args.url.as_deref().map(trim).or(kept_url.clone());
        let url = url.unwrap_or_else(|| DEFAULT_URL.into());
        let fits = kept_url.as_deref().unwrap_or(DEFAULT_URL) == url;
        Settings { token: args.token.clone().or(kept.token.filter(|_| fits)), url }
    }
}

/// `~/.config/cachewarden/cli.toml`.
pub fn path() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".config"));
    base.or_else(home).map(|b| b.join("cachewarden").join("cli.toml"))
}

/// Reads the file; an absent one is empty.
pub fn load(path: &Path) -> Result<Kept, Fail> {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Kept::default()),
        Err(e) => return Err(Fail::Usage(format!("{}: {e}", path.display()))),
    };
    if meta.mode() & 0o077 != 0 {
        let shown = path.display();
        return Err(Fail::Usage(format!(
            "{shown} holds a token and others may read it; chmod 600 {shown}"
        )));
    }
    let text = fs::read_to_string(path)?;
    toml::from_str(&text).map_err(|e| Fail::Usage(format!("{}: {}", path.display(), e.message())))
}

/// Writes the file, whole or not at all.
pub fn save(path: &Path, kept: &Kept) -> Result<(), Fail> {
    let text = toml::to_string(kept).map_err(|e| Fail::Other(e.into()))?;
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let fresh = path.with_extension("toml.new");
    let _ = fs::remove_file(&fresh);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Output;

    fn args(url: Option<&str>, token: Option<&str>) -> ServerArgs {
        ServerArgs { url: url.map(Into::into), token: token.map(Into::into), output: Output::Table }
    }

    #[test]
    fn a_flag_goes_before_the_file() {
        let kept = Kept { url: Some("http://a/".into()), token: Some("t".into()) };
        let s = Settings::resolve(&args(None, None), kept.clone());
        assert_eq!((s.url.as_str(), s.token.as_deref()), ("http://a", Some("t")));
        let s = Settings::resolve(&args(Some("http://a"), Some("u")), kept);
        assert_eq!(s.token.as_deref(), Some("u"));
    }

    #[test]
    fn a_kept_token_is_not_sent_to_another_server() {
        let kept = Kept { url: Some("http://a".into()), token: Some("t".into()) };
        assert_eq!(Settings::resolve(&args(Some("http://b"), None), kept).token, None);
    }

    #[test]
    fn the_file_is_its_owners_only_and_one_that_is_not_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x").join("cli.toml");
        let kept = Kept { url: None, token: Some("t".into()) };
        save(&path, &kept).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(load(&path).unwrap(), kept);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load(&path).is_err());
    }
}
