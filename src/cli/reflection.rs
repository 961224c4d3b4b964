//! Has the target asked what its services of gRPC look like, where a profile wants that, before anything is planned.

use crate::cli::exit::Failure;
use crate::cli::target::Target;
use crate::config::Config;
use crate::run::reflection;

/// Asks, and holds the steps against the answer.
pub(super) async fn ask(config: &mut Config, target: &Target) -> Result<(), Failure> {
    let services = config.services_to_ask_for();
    if services.is_empty() {
        return Ok(());
    }
    let addresses = target.addresses().await?;
    let asked = reflection::ask(&target.described, &config.profile.client.tls, &addresses, &services);
    let reflected = asked.await.map_err(|error| match error {
        error if error.is_refusal() => Failure::usage(config.cannot_describe(&error.to_string())),
        error if error.is_unreachable() => Failure::unreachable(error),
        error => Failure::usage(error),
    })?;
    config
        .describe_services(reflected.descriptors, &reflected.offered)
        .map_err(Failure::usage)
}
