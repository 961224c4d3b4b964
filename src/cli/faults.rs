//! `tenfold faults [NAME]`: the fault catalogue, for reading. Touches nothing.

use anyhow::anyhow;

use crate::cli::args::FaultsArguments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::out;
use crate::plan::catalogue::{self, CATALOGUE, Entry};

/// Lists the faults, or explains one.
pub(super) fn faults(arguments: &FaultsArguments) -> Result<Exit, Failure> {
    let text = match &arguments.name {
        None => list(),
        Some(name) => explain(catalogue::entry(name).ok_or_else(|| unknown(name))?),
    };
    out::print(&text)?;
    Ok(Exit::Met)
}

fn unknown(name: &str) -> Failure {
    let known: Vec<&str> = CATALOGUE.iter().map(|entry| entry.name).collect();
    Failure::usage(anyhow!(
        "there is no fault {name:?}\nhint: the faults are {}",
        known.join(", ")
    ))
}

fn list() -> String {
    let longest = CATALOGUE.iter().map(|entry| entry.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for entry in &CATALOGUE {
        let end = if entry.reversible { "undone" } else { "irreversible" };
        text.push_str(&format!("{:longest$}  {end:<12}  {}\n", entry.name, entry.does));
    }
    text.push_str("\nexplain one with: tenfold faults NAME\n");
    text
}

fn explain(entry: &Entry) -> String {
    let mut text = format!("{}: {}\n\n", entry.name, entry.does);
    let mut line = |what: &str, says: &str| text.push_str(&format!("{what:<16}{says}\n"));
    line("hits", entry.hits.in_words());
    for parameter in entry.parameters {
        line(
            if parameter.optional { "takes" } else { "needs" },
            &format!("{}: {}, {}", parameter.key, parameter.form, parameter.says),
        );
    }
    if entry.reversible {
        line("needs", "lasts: 6m, how long it stays in the world");
    } else {
        line("needs", "irreversible: true, since nothing undoes it");
    }
    line("before", entry.precondition);
    line("seen by", entry.observed);
    line(
        if entry.reversible {
            "undone by"
        } else {
            "instead of undo"
        },
        entry.undo,
    );
    line("not reproduced", entry.fidelity);
    line("cost", entry.cost);
    if let Some(quota) = entry.quota {
        line("quota", quota);
    }
    line("IAM to inject", &entry.inject.join(", "));
    if entry.reversible {
        line("IAM to revert", &entry.revert.join(", "));
    }
    if let Some((write, erase)) = entry.marks() {
        line("IAM to mark", &format!("{write}, and {erase} afterwards"));
    }
    if !entry.reads.is_empty() {
        line("IAM to look", &entry.reads.join(", "));
    }
    match entry.fis() {
        Some(fis) => {
            let only = if fis.only { " (no API does it)" } else { "" };
            let says = format!("{} on {}{only}; FIS undoes: {}", fis.id, fis.resource_type, fis.undone);
            line("FIS action", &says);
        }
        None => line("FIS action", "none; by the API only"),
    }
    let mut example = format!("  - fault: {}\n    role: {}\n", entry.name, role(entry));
    for parameter in entry.parameters {
        example.push_str(&format!("    {}: {}\n", parameter.key, parameter.form));
    }
    example.push_str("    at: hold + 4m\n");
    example.push_str(if entry.reversible {
        "    lasts: 6m\n"
    } else {
        "    irreversible: true\n"
    });
    text.push_str(&format!("\nfaults:\n{example}"));
    text
}

/// The role that the lab announces for such a fault.
fn role(entry: &Entry) -> &'static str {
    match entry.hits {
        catalogue::Hits::Group | catalogue::Hits::Network => "web",
        catalogue::Hits::Database | catalogue::Hits::Cluster => "database",
        catalogue::Hits::Dns => "dns",
        catalogue::Hits::IamRole => "app",
    }
}
