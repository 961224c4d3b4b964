//! What the user wrote -> typed values, every mistake at once, with file, line and remedy.
//! Gets text and a name; opens no file and reads no environment. [`references`] tells the caller which files to read
//! next, [`load`] takes everything together.

mod auth;
pub mod body;
pub mod checks;
pub mod classes;
pub mod client;
pub mod compression;
mod condition;
pub mod connections;
mod decode;
pub mod entry;
mod error;
mod experiment;
pub mod feeder;
mod files;
pub mod flow;
pub mod grpc;
mod journey;
mod load;
pub mod loads;
mod message;
mod nearest;
mod node;
pub mod oauth2;
pub mod objective;
mod objective_text;
mod overrides;
mod profile;
pub mod protobuf;
pub mod protocol;
mod reflected;
mod replay;
pub mod retry;
pub mod sigv4;
mod source;
pub mod stages;
mod steps;
mod streams;
mod target;
mod tcp;
pub mod template;
pub mod tls;
pub mod version;
pub mod wait;

pub use client::Client;
pub use error::{ConfigErrors, Mistake};
pub use experiment::{At, Experiment, FaultEntry, FaultKind, Stop};
pub use files::{FILE_MAX, Files};
pub use journey::{Journey, Step};
pub use load::{Config, Reference, References, Sources, load, references};
pub use profile::{Honesty, Ledger, Probe, Profile, TargetRef};
pub use protobuf::{ProtoReferences, Protos, imports};
pub use source::{Place, Spanned};
pub use stages::{Load, Stage};
pub use target::{AllowEntry, RoleEntry, TargetClock, TargetFile, load_target};
