//! The folder in which a server keeps its data and its log.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A folder owned by the account the server runs under.
pub(crate) struct Home {
    /// Absolute path.
    pub(crate) path: PathBuf,
    /// Whether it is removed when the server is gone.
    pub(crate) is_scratch: bool,
}

impl Home {
    /// Takes `wanted`, or a fresh folder for temporary files if nothing is wanted or the account cannot get there.
    ///
    /// The latter happens when a root user has the project below `/root`, which nobody else may enter, and Postgres
    /// refuses to run as root.
    pub(crate) fn prepare(wanted: Option<&Path>, name: &str, user: Option<(u32, u32)>) -> Result<Self> {
        if let Some(wanted) = wanted {
            std::fs::create_dir_all(wanted)
                .with_context(|| format!("cannot create the folder {}", wanted.display()))?;
            let path = wanted.canonicalize()?;
            give_to(&path, user)?;
            if is_reachable(&path, user) {
                return Ok(Self {
                    path,
                    is_scratch: false,
                });
            }
        }
        for parent in [std::env::temp_dir(), PathBuf::from("/tmp")] {
            let Ok(dir) = tempfile::Builder::new()
                .prefix(&format!("hotstock-{name}-"))
                .tempdir_in(&parent)
            else {
                continue;
            };
            give_to(dir.path(), user)?;
            if is_reachable(dir.path(), user) {
                return Ok(Self {
                    path: dir.keep(),
                    is_scratch: true,
                });
            }
        }
        bail!("no folder for temporary files that the account of {name} can write to (see TMPDIR)")
    }
}

fn give_to(path: &Path, user: Option<(u32, u32)>) -> Result<()> {
    if let Some((uid, gid)) = user {
        std::os::unix::fs::chown(path, Some(uid), Some(gid))
            .with_context(|| format!("cannot hand {} over to user id {uid}", path.display()))?;
    }
    Ok(())
}

/// Asked by going there: every parent has to let the account through.
fn is_reachable(path: &Path, user: Option<(u32, u32)>) -> bool {
    let mut probe = Command::new("/bin/sh");
    probe
        .args(["-c", "cd -- \"$1\" && test -w .", "probe"])
        .arg(path)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    if let Some((uid, gid)) = user {
        probe.uid(uid).gid(gid);
    }
    probe
        .current_dir("/")
        .status()
        .is_ok_and(|status| status.success())
}
