//! Arguments of `acl`.

use std::path::PathBuf;

use clap::Args;

/// `acl`.
#[derive(Debug, Args)]
pub struct Acl {
    /// Service id.
    pub service: String,
    /// Name of the monitor user.
    #[arg(long, default_value = "cw-monitor")]
    pub user: String,
    /// File with its password: hashed here, only the hash is sent and printed.
    #[arg(long, value_name = "FILE", conflicts_with = "prove")]
    pub password_file: Option<PathBuf>,
    /// Ask every process whether the user may do what polling needs and nothing else (ACL DRYRUN).
    #[arg(long)]
    pub prove: bool,
    /// With --prove: who asks; used once and kept nowhere. Absent: whoever polls the service.
    #[arg(long, value_name = "USER", requires = "prove", default_value = "")]
    pub admin_user: String,
    /// File with the password of that user.
    #[arg(long, value_name = "FILE", requires = "prove")]
    pub admin_password_file: Option<PathBuf>,
}
