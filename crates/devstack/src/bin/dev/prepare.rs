//! Is everything there? If not: what is missing and the one line that installs it, or its installation.

use anyhow::{Context, Result, bail};
use devstack::servers::{PackageManager, ServerKind, install_commands, install_line};
use tokio::process::Command;

use crate::show;

/// Makes sure that the servers are installed. Installs what is missing only if `install`, and names it before.
///
/// System services are neither started nor stopped nor used.
pub(crate) async fn ensure_installed(needed: &[ServerKind], install: bool) -> Result<()> {
    let missing = missing(needed);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing
        .iter()
        .map(|kind| kind.name())
        .collect::<Vec<_>>()
        .join(" and ");
    let Some(manager) = PackageManager::detect() else {
        bail!("not installed: {names}; and there is neither apt-get nor brew to install it with");
    };
    let line = install_line(manager, &missing);
    if !install {
        bail!(
            "not installed: {names}\n\nThis installs it:\n\n    {line}\n\nOr add --install to have it done."
        );
    }
    show::progress(&format!("not installed: {names}; installing:\n\n    {line}\n"));
    for command in install_commands(manager, &missing) {
        let status = Command::new(command[0])
            .args(&command[1..])
            .kill_on_drop(true)
            .status()
            .await
            .with_context(|| format!("cannot run {}", command[0]))?;
        if !status.success() {
            bail!(
                "`{}` failed ({status}), see above; {names} not installed",
                command.join(" ")
            );
        }
    }
    match self::missing(needed).first() {
        Some(kind) => bail!("{} is still not found after its installation", kind.name()),
        None => Ok(()),
    }
}

fn missing(needed: &[ServerKind]) -> Vec<ServerKind> {
    needed
        .iter()
        .copied()
        .filter(|kind| kind.find().is_none())
        .collect()
}
