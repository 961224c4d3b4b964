//! Reads the `.proto` files that a profile names, and what they import. What cannot be found is left out: the compiler
//! says which file wanted it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::cli::exit::Failure;
use crate::cli::profile::locate;
use crate::config::{self, ConfigErrors, FILE_MAX, ProtoReferences, Protos};

/// Files that one profile imports at most.
const FILES_MAX: usize = 10_000;

/// Reads them all.
pub(super) fn read(references: &ProtoReferences, profile: &Path) -> Result<Protos, Failure> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for include in &references.include {
        let folder = locate(Path::new(&include.value), profile);
        if !folder.is_dir() {
            let reason = "there is no such directory";
            return Err(Failure::usage(ConfigErrors::unreadable(
                &include.place,
                &include.value,
                reason,
            )));
        }
        folders.push(folder);
    }
    let mut found = Protos::new();
    let mut wanted = Vec::new();
    for file in &references.files {
        let path = Path::new(&file.value);
        let included = folders
            .iter()
            .map(|folder| folder.join(path))
            .find(|path| path.exists());
        let path = included.unwrap_or_else(|| locate(path, profile));
        let unreadable = |reason: &str| Failure::usage(ConfigErrors::unreadable(&file.place, &file.value, reason));
        let text = text(&path).map_err(|error| match error.kind() {
            ErrorKind::InvalidData => Failure::usage(ConfigErrors::not_text(&file.place, &file.value)),
            ErrorKind::FileTooLarge => Failure::usage(ConfigErrors::too_long(&file.place, &file.value, FILE_MAX)),
            _ => unreadable(&error.to_string()),
        })?;
        wanted.extend(config::imports(&text));
        // What lies beside it can be imported without more words.
        let beside = path.parent().map(Path::to_owned).unwrap_or_default();
        if !folders.contains(&beside) {
            folders.push(beside);
        }
        found.insert(file.value.clone(), (path.display().to_string(), text));
    }
    while let Some(name) = wanted.pop() {
        if found.contains_key(&name) || found.len() > FILES_MAX {
            continue;
        }
        let read = folders.iter().find_map(|folder| {
            let path = folder.join(&name);
            Some((path.display().to_string(), text(&path).ok()?))
        });
        if let Some((path, text)) = read {
            wanted.extend(config::imports(&text));
            found.insert(name, (path, text));
        }
    }
    Ok(found)
}

fn text(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > FILE_MAX {
        return Err(ErrorKind::FileTooLarge.into());
    }
    std::fs::read_to_string(path)
}
