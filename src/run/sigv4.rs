//! Requests signed for AWS (Signature Version 4): the bytes of a head get the fields that a signature needs, as late as the
//! moment they are sent, for a signature is good for minutes only. What is signed is what is sent: paths, queries and
//! values as they stand in those bytes.

use std::borrow::Cow;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;

use crate::plan::SigV4Plan;

/// Fields that proxies change or take away on the way.
const UNSIGNED: [&str; 8] = [
    "accept-encoding",
    "authorization",
    "connection",
    "expect",
    "te",
    "transfer-encoding",
    "user-agent",
    "x-amzn-trace-id",
];
/// Fields of a head at most.
const HEADERS_MAX: usize = 100;

/// Signs requests for one service.
#[derive(Clone, Debug)]
pub struct Signer {
    credentials: Credentials,
    region: String,
    service: String,
    settings: SigningSettings,
}

impl Signer {
    /// Signs as the plan says, whose environment is filled in.
    #[must_use]
    pub fn new(plan: &SigV4Plan) -> Self {
        let session_token = plan.session_token.as_ref().map(|token| token.text());
        let mut settings = SigningSettings::default();
        settings.excluded_headers = Some(UNSIGNED.map(Cow::Borrowed).to_vec());
        // S3 takes paths as they are, and wants the body's hash in a field of its own.
        if plan.service == "s3" || plan.service.starts_with("s3-") {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        Self {
            credentials: Credentials::new(
                plan.access_key.text(),
                plan.secret_key.text(),
                session_token,
                None,
                "profile",
            ),
            region: plan.region.clone(),
            service: plan.service.clone(),
            settings,
        }
    }

    /// Adds the signature's fields to a whole HTTP/1.1 head. One that cannot be signed stays as it is: the target refuses
    /// it, and that is counted.
    pub fn sign_head(&self, head: &mut Vec<u8>, body: &[u8]) {
        const END: &[u8] = b"\r\n\r\n";
        let Some(fields) = self.fields_for(head, body) else {
            return;
        };
        head.truncate(head.len() - END.len());
        for (name, value) in fields {
            head.extend_from_slice(b"\r\n");
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
        }
        head.extend_from_slice(END);
    }

    fn fields_for(&self, head: &[u8], body: &[u8]) -> Option<Vec<(String, String)>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        request.parse(head).ok()?;
        let fields = request.headers.iter();
        let fields: Option<Vec<_>> = fields
            .map(|field| Some((field.name, std::str::from_utf8(field.value).ok()?)))
            .collect();
        self.fields(request.method?, request.path?, &fields?, body)
    }

    /// The fields that make a request a signed one; none where it cannot be signed.
    #[must_use]
    pub fn fields(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Vec<(String, String)>> {
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(SystemTime::now())
            .settings(self.settings.clone())
            .build()
            .expect("every parameter is given")
            .into();
        let request = SignableRequest::new(method, path, headers.iter().copied(), SignableBody::Bytes(body)).ok()?;
        let (signed, _) = sign(request, &params).ok()?.into_parts();
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Some(signed.headers().map(own).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Part, Template};

    fn signer(service: &str) -> Signer {
        let text = |text: &str| Template {
            parts: vec![Part::Text(text.to_owned())],
        };
        Signer::new(&SigV4Plan {
            service: service.to_owned(),
            region: "eu-west-1".to_owned(),
            access_key: text("AKIDEXAMPLE"),
            secret_key: text("the-secret-key"),
            session_token: Some(text("the-token")),
        })
    }

    #[test]
    fn a_head_gets_what_a_signature_needs_and_stays_a_head() {
        let head = b"GET /a%20b?c=d HTTP/1.1\r\nhost: 127.0.0.1:81\r\nuser-agent: x\r\n\r\n";
        let mut signed = head.to_vec();
        signer("execute-api").sign_head(&mut signed, b"body");
        let text = String::from_utf8(signed).unwrap();
        assert!(text.starts_with("GET /a%20b?c=d HTTP/1.1\r\nhost: 127.0.0.1:81\r\nuser-agent: x\r\nx-amz-date: "));
        assert!(
            text.ends_with("\r\n\r\n") && text.matches("\r\n\r\n").count() == 1,
            "{text}"
        );
        assert!(
            text.contains("/eu-west-1/execute-api/aws4_request, SignedHeaders=host;x-amz-date;x-amz-security-token, ")
        );
        assert!(
            text.contains("\r\nx-amz-security-token: the-token\r\n") && !text.contains("sha256:"),
            "{text}"
        );
        let mut to_s3 = head.to_vec();
        signer("s3").sign_head(&mut to_s3, b"body");
        assert!(
            String::from_utf8(to_s3)
                .unwrap()
                .contains("\r\nx-amz-content-sha256: 230d8358")
        );
    }

    #[test]
    fn what_cannot_be_signed_stays_as_it_is_and_nobody_sees_the_secret() {
        for head in [
            &b"GET /\xff HTTP/1.1\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nx: \xff\r\n\r\n",
            b"nonsense",
        ] {
            let mut signed = head.to_vec();
            signer("execute-api").sign_head(&mut signed, b"");
            assert_eq!(signed, head);
        }
        let shown = format!("{:?}", signer("execute-api"));
        assert!(
            !shown.contains("the-secret-key") && !shown.contains("the-token"),
            "{shown}"
        );
    }
}
