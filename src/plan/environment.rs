//! `{{ env(NAME) }}`: a plan names variables of the environment, and never holds what they are, so that a secret does not
//! come into a file by being used.

use super::{Part, Plan, Template};

/// A variable that a plan needs and the environment has not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {step:?} needs the variable {name} of the environment, which is not set\nhint: export {name}=...")]
pub struct MissingVariable {
    /// The first step that needs it.
    pub step: String,
    /// Its name.
    pub name: String,
}

impl Plan {
    /// The plan with every variable of the environment filled in. It is only for running, not for writing down.
    pub fn with_environment(mut self, value: impl Fn(&str) -> Option<String>) -> Result<Self, MissingVariable> {
        for step in &mut self.steps {
            let headers = step.headers.iter_mut().map(|(_, value)| value);
            let body = step.body.iter_mut().map(|body| &mut body.template);
            for template in std::iter::once(&mut step.path).chain(headers).chain(body) {
                fill(template, &value).map_err(|name| MissingVariable {
                    step: step.name.clone(),
                    name,
                })?;
            }
        }
        Ok(self)
    }
}

fn fill(template: &mut Template, value: &impl Fn(&str) -> Option<String>) -> Result<(), String> {
    for part in &mut template.parts {
        match part {
            Part::Env(name) => *part = Part::Text(value(name).ok_or_else(|| name.clone())?),
            Part::Base64(inner) => fill(inner, value)?,
            _ => {}
        }
    }
    Ok(())
}
