//! Where the server programs are, and the one line that installs what is missing.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// A kind of server that hotstock needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// PostgreSQL: one database per service.
    Postgres,
    /// Redis: the gate in front of hot products.
    Redis,
    /// RabbitMQ: the messages between the services.
    RabbitMq,
    /// Prometheus, with promtool: what the services say of themselves, kept and asked.
    Prometheus,
    /// Chromium: no server, but the tests of the pages look through it.
    Chromium,
}

/// A package manager that can install the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageManager {
    /// Debian, Ubuntu.
    Apt {
        /// Whether commands have to be run through `sudo`.
        sudo: bool,
    },
    /// macOS, or Linuxbrew.
    Brew,
}

impl ServerKind {
    /// What the services stand on, and what looks at them.
    pub const ALL: [Self; 5] = [
        Self::Postgres,
        Self::Redis,
        Self::RabbitMq,
        Self::Prometheus,
        Self::Chromium,
    ];

    /// The name people know it by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Redis => "Redis",
            Self::RabbitMq => "RabbitMQ",
            Self::Prometheus => "Prometheus",
            Self::Chromium => "Chromium",
        }
    }

    /// The folder that holds its programs, if it is installed.
    #[must_use]
    pub fn find(self) -> Option<PathBuf> {
        self.find_in(&search_path())
    }

    /// The folder that holds its programs; if there is none, an error with the one line that installs it.
    pub fn require(self) -> Result<PathBuf> {
        match self.find() {
            Some(dir) => Ok(dir),
            None => match PackageManager::detect() {
                Some(manager) => {
                    bail!(
                        "{} is not installed; this installs it: {}",
                        self.name(),
                        install_line(manager, &[self])
                    )
                }
                None => bail!(
                    "{} is not installed (needed: {})",
                    self.name(),
                    self.programs().join(", ")
                ),
            },
        }
    }

    /// The package that brings it.
    #[must_use]
    pub fn package(self, manager: PackageManager) -> &'static str {
        match (self, manager) {
            (Self::Postgres, PackageManager::Apt { .. }) => "postgresql",
            (Self::Postgres, PackageManager::Brew) => "postgresql@17",
            (Self::Redis, PackageManager::Apt { .. }) => "redis-server",
            (Self::Redis, PackageManager::Brew) => "redis",
            (Self::RabbitMq, PackageManager::Apt { .. }) => "rabbitmq-server",
            (Self::RabbitMq, PackageManager::Brew) => "rabbitmq",
            (Self::Prometheus, _) => "prometheus",
            (Self::Chromium, _) => "chromium",
        }
    }

    fn find_in(self, folders: &[PathBuf]) -> Option<PathBuf> {
        folders
            .iter()
            .find(|dir| self.programs().iter().all(|program| dir.join(program).is_file()))
            .cloned()
    }

    fn programs(self) -> &'static [&'static str] {
        match self {
            // Debian keeps wrappers in /usr/bin; the folder with the real programs has both of these.
            Self::Postgres => &["initdb", "postgres"],
            Self::Redis => &["redis-server"],
            // Debian has wrappers in /usr/sbin that want to be root; `rabbitmq-env` is only beside the real program.
            Self::RabbitMq => &["rabbitmq-server", "rabbitmq-env"],
            Self::Prometheus => &["prometheus", "promtool"],
            Self::Chromium => &["chromium"],
        }
    }
}

impl PackageManager {
    /// The one this machine has; brew first, since a machine that has it uses it.
    #[must_use]
    pub fn detect() -> Option<Self> {
        let path = search_path();
        let has = |program: &str| path.iter().any(|dir| dir.join(program).is_file());
        if has("brew") {
            return Some(Self::Brew);
        }
        let is_root = rustix::process::geteuid().is_root();
        has("apt-get").then(|| Self::Apt {
            sudo: !is_root && has("sudo"),
        })
    }
}

/// The commands that install `missing`, each as program and arguments, in order.
#[must_use]
pub fn install_commands(manager: PackageManager, missing: &[ServerKind]) -> Vec<Vec<&'static str>> {
    let packages = missing.iter().map(|kind| kind.package(manager));
    let sudo: &[&str] = if manager == (PackageManager::Apt { sudo: true }) {
        &["sudo"]
    } else {
        &[]
    };
    match manager {
        PackageManager::Brew => vec![["brew", "install"].into_iter().chain(packages).collect()],
        PackageManager::Apt { .. } => {
            let update = sudo.iter().copied().chain(["apt-get", "update"]).collect();
            // `env` because sudo drops variables; without it the installation could stop at a question.
            let install = [
                "env",
                "DEBIAN_FRONTEND=noninteractive",
                "apt-get",
                "install",
                "-y",
            ];
            let install = sudo
                .iter()
                .copied()
                .chain(install)
                .chain(["--no-install-recommends"])
                .chain(packages);
            vec![update, install.collect()]
        }
    }
}

/// The same as one line for a shell.
#[must_use]
pub fn install_line(manager: PackageManager, missing: &[ServerKind]) -> String {
    install_commands(manager, missing)
        .iter()
        .map(|command| command.join(" "))
        .collect::<Vec<_>>()
        .join(" && ")
}

/// The folders of `PATH`, then those in which packages put programs without telling `PATH`, newest version first.
fn search_path() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    folders.extend(versioned("/usr/lib/postgresql", ""));
    for prefix in [
        "/opt/homebrew/opt",
        "/usr/local/opt",
        "/home/linuxbrew/.linuxbrew/opt",
    ] {
        folders.extend(versioned(prefix, "postgresql@"));
        folders.push(Path::new(prefix).join("rabbitmq/sbin"));
    }
    folders.push(PathBuf::from("/usr/lib/rabbitmq/bin"));
    folders.push(PathBuf::from("/Applications/Chromium.app/Contents/MacOS"));
    folders.push(PathBuf::from("/usr/sbin"));
    folders
}

/// `<parent>/<prefix><number>/bin` for every number there, greatest first.
fn versioned(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, Path::join(&entry.path(), "bin")))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, dir)| dir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_install_line_names_everything_that_is_missing() {
        assert_eq!(
            install_line(PackageManager::Apt { sudo: true }, &ServerKind::ALL),
            "sudo apt-get update && sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y \
             --no-install-recommends postgresql redis-server rabbitmq-server prometheus chromium"
        );
        assert_eq!(
            install_line(PackageManager::Apt { sudo: false }, &[ServerKind::Redis]),
            "apt-get update && env DEBIAN_FRONTEND=noninteractive apt-get install -y \
             --no-install-recommends redis-server"
        );
        assert_eq!(
            install_line(PackageManager::Brew, &ServerKind::ALL),
            "brew install postgresql@17 redis rabbitmq prometheus chromium"
        );
    }

    #[test]
    fn a_folder_counts_only_with_every_program_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let folders = [dir.path().to_path_buf()];
        std::fs::write(dir.path().join("initdb"), "").unwrap();
        assert_eq!(ServerKind::Postgres.find_in(&folders), None);
        std::fs::write(dir.path().join("postgres"), "").unwrap();
        assert_eq!(
            ServerKind::Postgres.find_in(&folders).as_deref(),
            Some(dir.path())
        );
        assert_eq!(ServerKind::Redis.find_in(&folders), None);
    }

    #[test]
    fn the_newest_version_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["9", "15", "common", "16"] {
            std::fs::create_dir(dir.path().join(version)).unwrap();
        }
        let found = versioned(dir.path().to_str().unwrap(), "");
        let expected = ["16/bin", "15/bin", "9/bin"].map(|tail| dir.path().join(tail));
        assert_eq!(found, expected);
    }
}
