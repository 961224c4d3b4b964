//! Where this user's tenfold remembers things between two commands: plans that were shown, and which runs go on.

use std::path::PathBuf;

use anyhow::{Context, anyhow};

/// A folder below the state directory (XDG: `$XDG_STATE_HOME`, else `~/.local/state`), made if it is not there.
pub(super) fn folder(name: &str) -> anyhow::Result<PathBuf> {
    let set = |variable: &str| {
        let value = std::env::var_os(variable).map(PathBuf::from);
        // The XDG specification has relative paths ignored.
        value.filter(|path| path.is_absolute())
    };
    let base = set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .ok_or_else(|| {
            anyhow!("there is no place to keep state\nhint: set HOME, or XDG_STATE_HOME to a directory of yours")
        })?;
    let path = base.join("tenfold").join(name);
    std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}
