//! Only one stack per checkout: a lock that the system gives back even when its holder is killed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Held as long as the stack runs.
pub(crate) struct StackLock {
    _file: File,
}

impl StackLock {
    /// Takes the lock and writes our pid into it; an error that names the holder if somebody has it.
    pub(crate) fn take(dev_dir: &Path) -> Result<Self> {
        let path = dev_dir.join("pid");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid)?;
                bail!(
                    "a stack of this checkout is running already (pid {}); stop that one first",
                    pid.trim()
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock .dev/pid"),
        }
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = StackLock::take(dir.path()).unwrap();
        let error = StackLock::take(dir.path()).err().unwrap().to_string();
        assert!(
            error.contains(&format!("(pid {})", std::process::id())),
            "{error}"
        );
        drop(first);
        assert!(StackLock::take(dir.path()).is_ok());
    }
}
