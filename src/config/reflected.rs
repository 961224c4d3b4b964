//! What a target says of its services by reflection, held against what steps call. Asks nobody.

use super::error::{ConfigErrors, Mistake, Sink};
use super::load::Config;
use super::message;
use super::protobuf::Services;

impl Config {
    /// The services that steps call by their full names, each once, where the target is to say what they look like.
    #[must_use]
    pub fn services_to_ask_for(&self) -> Vec<String> {
        let mut names = Vec::new();
        if let Some(Services::Asked(_)) = &self.profile.services {
            let steps = self.profile.journeys.iter().flat_map(|journey| &journey.steps);
            let calls = steps.filter_map(|step| step.call.as_ref());
            names.extend(calls.filter_map(|call| Some(call.method.value.split_once('/')?.0.to_owned())));
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Takes what the target says of them, a FileDescriptorSet, and checks the steps against it; `offered` are the names
    /// of its services, where one of them was missing.
    pub fn describe_services(&mut self, descriptors: Vec<u8>, offered: &[String]) -> Result<(), ConfigErrors> {
        let mut sink = Sink::default();
        message::check(&self.profile.journeys, &descriptors, offered, &mut sink);
        self.profile.services = Some(Services::Described(descriptors));
        sink.finish(Some(()))
    }

    /// The target will not say it: the mistake at the line that wants it asked.
    #[must_use]
    pub fn cannot_describe(&self, why: &str) -> ConfigErrors {
        let mistake = match &self.profile.services {
            Some(Services::Asked(place)) => Mistake::at(place, why),
            _ => Mistake::anywhere(why),
        };
        let hint = "have the target serve reflection, or write { proto: [shop.proto] } or { descriptors: shop.pb }";
        ConfigErrors::new(vec![mistake.hint(hint)])
    }
}
