//! STS: whose account it is, and roles to assume. A session is written into its own token, so that nothing of anybody's
//! credentials is kept here; an expired one is refused, as AWS does.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Call;
use super::value::{Value, fault, map, time};
use crate::clock::unix;
use crate::lab::error::AwsError;

/// Seconds of a session when none are asked for (STS API, AssumeRole: DurationSeconds).
const DURATION_S: i64 = 3600;

/// A session of an assumed role.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// ARN of the session.
    arn: String,
    account: String,
    /// Real Unix seconds: credentials are the caller's, whose clock does not run faster.
    expires: f64,
}

impl Session {
    /// The session that a token stands for; none for a token that the lab did not give.
    pub fn of_token(token: &str) -> Option<Self> {
        let text = URL_SAFE_NO_PAD.decode(token.strip_prefix("lab.")?).ok()?;
        let text = String::from_utf8(text).ok()?;
        let mut parts = text.splitn(3, ' ');
        Some(Self {
            expires: parts.next()?.parse().ok()?,
            account: parts.next()?.to_owned(),
            arn: parts.next()?.to_owned(),
        })
    }

    fn token(&self) -> String {
        let text = format!("{} {} {}", self.expires, self.account, self.arn);
        format!("lab.{}", URL_SAFE_NO_PAD.encode(text))
    }

    /// Name of the role.
    pub fn role(&self) -> Option<&str> {
        self.arn.split_once(":assumed-role/")?.1.split('/').next()
    }

    /// Refuses one that is over.
    pub fn check(&self) -> Result<(), AwsError> {
        if unix(SystemTime::now()) < self.expires {
            return Ok(());
        }
        let message = "The security token included in the request is expired";
        Err(AwsError::new("ExpiredToken", message, 403))
    }
}

/// Answers one STS operation.
pub fn answer(call: &Call<'_>) -> Result<Value, AwsError> {
    match call.action {
        "GetCallerIdentity" => Ok(identity(call)),
        "AssumeRole" => assume(call),
        other => Err(call.unknown(other)),
    }
}

fn identity(call: &Call<'_>) -> Value {
    let (account, arn) = match &call.session {
        Some(session) => (session.account.clone(), session.arn.clone()),
        None => {
            let account = call.lab.world().account.clone();
            let arn = format!("arn:aws:iam::{account}:user/tenfold");
            (account, arn)
        }
    };
    map([
        ("Arn", arn.into()),
        ("UserId", "AIDAEXAMPLEEXAMPLE12".into()),
        ("Account", account.into()),
    ])
}

fn assume(call: &Call<'_>) -> Result<Value, AwsError> {
    let role = call.input.required("RoleArn")?;
    let name = call.input.required("RoleSessionName")?;
    let duration = call.input.whole("DurationSeconds", 900..=43_200)?.unwrap_or(DURATION_S);
    let parts = role
        .strip_prefix("arn:aws:iam::")
        .and_then(|rest| rest.split_once(":role/"));
    let Some((account, path)) = parts else {
        return Err(fault("ValidationError", format!("{role} is invalid")));
    };
    let session_length = call.lab.config.control_plane.session.as_secs_f64();
    let expires = unix(SystemTime::now()) + session_length.min(duration as f64);
    let role_name = path.rsplit('/').next().unwrap_or_default();
    let session = Session {
        arn: format!("arn:aws:sts::{account}:assumed-role/{role_name}/{name}"),
        account: account.to_owned(),
        expires,
    };
    let credentials = map([
        ("AccessKeyId", call.lab.new_id("ASIA").to_uppercase().into()),
        ("SecretAccessKey", "the lab verifies no signature".into()),
        ("SessionToken", session.token().into()),
        ("Expiration", time(expires)),
    ]);
    let user = map([
        ("Arn", session.arn.into()),
        ("AssumedRoleId", format!("AROAEXAMPLEEXAMPLE12:{name}").into()),
    ]);
    Ok(map([("Credentials", credentials), ("AssumedRoleUser", user)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_its_token_until_it_is_over() {
        let session = |expires: f64| Session {
            arn: "arn:aws:sts::111122223333:assumed-role/game day/tenfold".to_owned(),
            account: "111122223333".to_owned(),
            expires,
        };
        let lasting = session(unix(SystemTime::now()) + 60.0);
        assert_eq!(Session::of_token(&lasting.token()), Some(lasting.clone()));
        assert!(lasting.check().is_ok());
        assert_eq!(
            session(1.0).check().map_err(|error| error.code),
            Err("ExpiredToken".to_owned())
        );
        assert_eq!(Session::of_token("FwoGZXIvYXdzE"), None, "somebody else's");
    }
}
