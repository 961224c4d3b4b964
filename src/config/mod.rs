//! What the user wrote -> typed values, every mistake at once, with file, line and remedy.
//! Gets text and a name; opens no file and reads no environment. [`references`] tells the caller which files to read
//! next, [`load`] takes everything together.

pub mod body;
pub mod checks;
pub mod connections;
mod decode;
pub mod entry;
mod error;
mod experiment;
pub mod feeder;
mod journey;
mod load;
mod nearest;
mod node;
pub mod objective;
mod objective_text;
mod overrides;
pub mod profile;
mod replay;
pub mod retry;
mod source;
mod target;
pub mod template;
pub mod tls;
pub mod wait;

pub use error::{ConfigErrors, Mistake};
pub use experiment::{At, Experiment, FaultEntry, FaultKind, Stop};
pub use journey::{Journey, Step};
pub use load::{Config, FILE_MAX, Files, Reference, References, Sources, load, references};
pub use profile::{Client, Honesty, Ledger, Load, Probe, Profile, Stage, TargetRef};
pub use source::{Place, Spanned};
pub use target::{AllowEntry, RoleEntry, TargetClock, TargetFile, load_target};
