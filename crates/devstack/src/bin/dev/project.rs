//! The project's folders, and cargo inside it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// The checkout this command was called in.
pub(crate) struct Project {
    root: PathBuf,
}

impl Project {
    /// The nearest folder upwards that is this workspace.
    pub(crate) fn find() -> Result<Self> {
        let here = std::env::current_dir().context("there is no current folder")?;
        let root = here
            .ancestors()
            .find(|folder| folder.join("crates/devstack/Cargo.toml").is_file());
        let root = root.context("not inside a hotstock checkout")?.canonicalize()?;
        Ok(Self { root })
    }

    /// Everything the running stack keeps; ignored by git.
    pub(crate) fn dev_dir(&self) -> Result<PathBuf> {
        let dir = self.root.join(".dev");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir)
    }

    /// Where the running stack is written down.
    pub(crate) fn stack_file(&self) -> PathBuf {
        self.root.join(".dev/env")
    }

    /// `cargo`, the one that started us, in the project's root; ends with us.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::from(devstack::cargo());
        command.current_dir(&self.root).kill_on_drop(true);
        command
    }

    /// Builds packages, with cargo's own progress shown; returns the folder of the binaries.
    pub(crate) async fn build(&self, packages: &[&str], is_release: bool) -> Result<PathBuf> {
        let mut command = self.cargo();
        command.arg("build");
        if is_release {
            command.arg("--release");
        }
        for package in packages {
            command.args(["--package", package]);
        }
        if !command.status().await.context("cannot run cargo")?.success() {
            bail!("cargo build failed, see above");
        }
        let profile = if is_release { "release" } else { "debug" };
        Ok(self.target_dir().await?.join(profile))
    }

    /// The root folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    async fn target_dir(&self) -> Result<PathBuf> {
        let output = self
            .cargo()
            .args(["metadata", "--format-version=1", "--no-deps"])
            .output()
            .await?;
        let metadata: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("cargo metadata answered no JSON")?;
        let dir = metadata["target_directory"]
            .as_str()
            .context("cargo metadata names no target folder")?;
        Ok(PathBuf::from(dir))
    }
}
