//! `.dev/env`: where the running stack is written down, so that any tool finds the same one.
//!
//! A dotenv file, one `KEY=value` per line, values without blanks. It appears when everything answers and goes when the stack stops.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::tls;

/// Writes the file by atomic rename: whoever reads it sees all of it or none. Nobody else may read it.
pub fn write(path: &Path, entries: &[(String, String)]) -> Result<()> {
    let text: String = entries
        .iter()
        .map(|(key, value)| format!("{key}={value}\n"))
        .collect();
    let fresh = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    // Keys may be in it.
    options.write(true).create_new(true).mode(0o600);
    let _ = std::fs::remove_file(&fresh);
    let written = options
        .open(&fresh)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", fresh.display()))?;
    std::fs::rename(&fresh, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Where the authority of an encrypted stack is.
pub const CA_FILE: &str = "CA_FILE";

/// Reads it, and from then on believes the authority it names; `None` when there is no such file, that is: no stack is running.
pub fn read(path: &Path) -> Result<Option<BTreeMap<String, String>>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let entries = parse(&text);
            if let Some(ca_file) = entries.get(CA_FILE) {
                tls::believe(Path::new(ca_file))?;
            }
            Ok(Some(entries))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn parse(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        assert_eq!(read(&path).unwrap(), None);
        let entries = [("PRODUCT_URL", "http://127.0.0.1:8081"), ("PID_REDIS", "42")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        write(&path, &entries).unwrap();
        assert_eq!(read(&path).unwrap(), Some(BTreeMap::from(entries)));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}
