//! `{{ env(NAME) }}`: a plan names variables of the environment, and never holds what they are, so that a secret does not
//! come into a file by being used.

use super::{OAuth2Plan, Part, Plan, SigV4Plan, Template};

/// A variable that a plan needs and the environment has not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{needed_by} needs the variable {name} of the environment, which is not set\nhint: export {name}=...")]
pub struct MissingVariable {
    /// The first step, ledger or client that needs it, as it is called in a sentence.
    pub needed_by: String,
    /// Its name.
    pub name: String,
}

impl Plan {
    /// The plan with every variable of the environment filled in. It is only for running, not for writing down.
    pub fn with_environment(mut self, value: impl Fn(&str) -> Option<String>) -> Result<Self, MissingVariable> {
        for step in &mut self.steps {
            let headers = step.headers.iter_mut().map(|(_, value)| value);
            let body = step.body.iter_mut().map(|body| &mut body.template);
            let sign = step.sign.iter_mut().flat_map(SigV4Plan::templates);
            let all = std::iter::once(&mut step.path).chain(headers).chain(body).chain(sign);
            fill_all(all, &value, || format!("step {:?}", step.name))?;
        }
        for (name, ledger) in &mut self.ledgers {
            let headers = ledger.headers.iter_mut().map(|(_, value)| value);
            let sign = ledger.sign.iter_mut().flat_map(SigV4Plan::templates);
            let all = std::iter::once(&mut ledger.read).chain(headers).chain(sign);
            fill_all(all, &value, || format!("ledger {name:?}"))?;
        }
        for client in &mut self.token_clients {
            let url = client.token_url.shown();
            fill_all(OAuth2Plan::templates(client), &value, || format!("the client of {url}"))?;
        }
        Ok(self)
    }
}

fn fill_all<'t>(
    mut templates: impl Iterator<Item = &'t mut Template>,
    value: &impl Fn(&str) -> Option<String>,
    needed_by: impl Fn() -> String,
) -> Result<(), MissingVariable> {
    let filled = templates.try_for_each(|template| fill(template, value));
    filled.map_err(|name| MissingVariable {
        needed_by: needed_by(),
        name,
    })
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
