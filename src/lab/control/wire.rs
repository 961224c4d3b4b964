//! The six protocols on HTTP: which operation a request asks for, and how answers and errors are put.
//! Shapes follow what the AWS SDKs decode; it knows services only by the name in the signature's scope.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::value::{Value, map};
use super::{arczonalshift, cbor, fis, json, query, route53, xml};
use crate::lab::error::AwsError;

/// Service id of CloudWatch in targets and paths.
const CLOUDWATCH: &str = "GraniteServiceVersion20100801";

/// How a request and its answer are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Form in, XML without result wrapper out.
    Ec2Query,
    /// Form in, XML out.
    AwsQuery,
    /// Path and XML in, XML out.
    RestXml,
    /// CBOR both ways.
    Cbor,
    /// JSON both ways.
    Json,
    /// Path and JSON in, JSON out.
    RestJson,
}

/// Whom a request was signed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The Region.
    pub region: String,
    /// The signing name of the service.
    pub service: String,
}

/// An operation as it was asked for.
#[derive(Debug)]
pub struct Asked {
    pub protocol: Protocol,
    pub action: String,
    pub input: Value,
    pub query: Value,
    pub path_ids: Vec<String>,
}

/// A request that names no operation that could be answered.
#[derive(Debug)]
pub struct Incomplete {
    pub protocol: Protocol,
    pub action: String,
    pub error: AwsError,
}

/// The protocol by everything but the signature.
pub fn guess_protocol(head: &Parts) -> Protocol {
    let content_type = head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if head.uri.path().starts_with("/service/") {
        Protocol::Cbor
    } else if head.uri.path().starts_with("/2013-04-01/") {
        Protocol::RestXml
    } else if content_type.starts_with("application/x-amz-json") {
        Protocol::Json
    } else {
        Protocol::AwsQuery
    }
}

/// The scope in `Credential=KEY/DATE/REGION/SERVICE/aws4_request`; the rest of the header is not looked at.
pub fn scope(authorization: &str) -> Option<Scope> {
    let credential = authorization.split_once("Credential=")?.1.split([',', ' ']).next()?;
    let mut parts = credential.rsplit('/');
    if parts.next()? != "aws4_request" {
        return None;
    }
    let (service, region) = (parts.next()?, parts.next()?);
    let sound = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (sound(service) && sound(region)).then(|| Scope {
        region: region.to_owned(),
        service: service.to_owned(),
    })
}

/// What the request asks for, and of whom.
pub fn read(head: &Parts, body: &[u8]) -> Result<(Scope, Asked), Incomplete> {
    let mut protocol = guess_protocol(head);
    let refuse = |protocol, error| {
        Err(Incomplete {
            protocol,
            action: String::new(),
            error,
        })
    };
    let Some(authorization) = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
        let message = "Request is missing Authentication Token";
        return refuse(protocol, AwsError::new("MissingAuthenticationToken", message, 403));
    };
    let Some(scope) = scope(authorization) else {
        let message = "The Authorization header has no credential scope";
        return refuse(protocol, AwsError::new("IncompleteSignature", message, 403));
    };
    if protocol == Protocol::AwsQuery && scope.service == "ec2" {
        protocol = Protocol::Ec2Query;
    }
    // Its paths are the services' own, so that only the signature tells.
    if rest_json(&scope.service).is_some() {
        protocol = Protocol::RestJson;
    }
    match decode(protocol, &scope.service, head, body) {
        Ok(asked) => Ok((scope, asked)),
        Err(error) => Err(Incomplete {
            protocol,
            action: scope.service,
            error,
        }),
    }
}

/// The operation of a method and the segments of a path, with the ids among them.
type Operations = for<'p> fn(&str, &[&'p str]) -> Option<(&'static str, Vec<&'p str>)>;

/// The operations of a service that speaks `restJson1`.
fn rest_json(service: &str) -> Option<Operations> {
    match service {
        "fis" => Some(fis::operation),
        "arc-zonal-shift" => Some(arczonalshift::operation),
        _ => None,
    }
}

fn decode(protocol: Protocol, service: &str, head: &Parts, body: &[u8]) -> Result<Asked, AwsError> {
    let asked = |action: &str, input| Asked {
        protocol,
        action: action.to_owned(),
        input,
        query: Value::empty(),
        path_ids: Vec::new(),
    };
    let unknown = || AwsError::bad_request("InvalidAction", "The request names no operation of this endpoint");
    let malformed = |error: &dyn std::fmt::Display| AwsError::bad_request("SerializationException", error.to_string());
    match protocol {
        Protocol::Ec2Query | Protocol::AwsQuery => {
            let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
            // A form may also come in the query string of a GET.
            let form = if body.is_empty() {
                head.uri.query().unwrap_or_default()
            } else {
                text
            };
            let input = query::decode(form);
            let missing = || AwsError::bad_request("MissingAction", "The request must contain the parameter Action");
            let action = input.text("Action").ok_or_else(missing)?.to_owned();
            Ok(asked(&action, input))
        }
        Protocol::Cbor => {
            let prefix = format!("/service/{CLOUDWATCH}/operation/");
            let action = head.uri.path().strip_prefix(prefix.as_str()).ok_or_else(unknown)?;
            Ok(asked(action, cbor::decode(body).map_err(|error| malformed(&error))?))
        }
        Protocol::Json => {
            let target = head
                .headers
                .get("x-amz-target")
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            let action = target
                .strip_prefix(CLOUDWATCH)
                .and_then(|rest| rest.strip_prefix('.'))
                .ok_or_else(unknown)?;
            Ok(asked(action, json::decode(body).map_err(|error| malformed(&error))?))
        }
        Protocol::RestJson => {
            let path = head.uri.path().trim_start_matches('/');
            let segments: Vec<&str> = path.split('/').collect();
            let (action, ids) = rest_json(service)
                .and_then(|operations| operations(head.method.as_str(), &segments))
                .ok_or_else(unknown)?;
            Ok(Asked {
                path_ids: ids.into_iter().map(query::unescape_path).collect(),
                query: query::decode(head.uri.query().unwrap_or_default()),
                ..asked(action, json::decode(body).map_err(|error| malformed(&error))?)
            })
        }
        Protocol::RestXml => {
            let (action, path_ids) = route53::operation(head.method.as_str(), head.uri.path()).ok_or_else(unknown)?;
            let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
            let input = match text.trim() {
                "" => Value::empty(),
                text => xml::parse(text).map_err(|error| AwsError::bad_request("MalformedXML", error.to_string()))?,
            };
            let query = query::decode(head.uri.query().unwrap_or_default());
            Ok(Asked {
                path_ids,
                query,
                ..asked(action, input)
            })
        }
    }
}

fn namespace(service: &str) -> &'static str {
    match service {
        "ec2" => "http://ec2.amazonaws.com/doc/2016-11-15/",
        "autoscaling" => "http://autoscaling.amazonaws.com/doc/2011-01-01/",
        "elasticloadbalancing" => "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
        "rds" => "http://rds.amazonaws.com/doc/2014-10-31/",
        "monitoring" => "http://monitoring.amazonaws.com/doc/2010-08-01/",
        "iam" => "https://iam.amazonaws.com/doc/2010-05-08/",
        "sts" => "https://sts.amazonaws.com/doc/2011-06-15/",
        "route53" => route53::NAMESPACE,
        _ => "",
    }
}

/// A successful answer.
pub fn success(
    protocol: Protocol,
    service: &str,
    action: &str,
    answer: Value,
    request_id: &str,
) -> Response<Full<Bytes>> {
    let root = format!("{action}Response");
    let space = namespace(service);
    let id = || Value::from(request_id);
    let body = match protocol {
        Protocol::Ec2Query => {
            let mut members = vec![("requestId".into(), id())];
            if let Value::Map(more) = answer {
                members.extend(more);
            }
            xml::document(&root, space, &Value::Map(members)).into_bytes()
        }
        Protocol::AwsQuery => {
            // Decoders insist on the result element, so an operation without output gets an empty one.
            let result = if answer == Value::Null { Value::empty() } else { answer };
            let metadata = ("ResponseMetadata".into(), map([("RequestId", id())]));
            let body = Value::Map(vec![(format!("{action}Result").into(), result), metadata]);
            xml::document(&root, space, &body).into_bytes()
        }
        Protocol::RestXml => xml::document(&root, space, &answer).into_bytes(),
        Protocol::Cbor => cbor::encode(&non_null(answer)),
        Protocol::Json | Protocol::RestJson => json::encode(&non_null(answer)),
    };
    respond(protocol, StatusCode::OK, body, request_id)
}

fn non_null(answer: Value) -> Value {
    if answer == Value::Null { Value::empty() } else { answer }
}

/// An error in the protocol's shape.
pub fn failure(protocol: Protocol, service: &str, error: &AwsError, request_id: &str) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    let kind = if status.is_server_error() { "Receiver" } else { "Sender" };
    let (code, message) = (error.code.as_str(), error.message.as_str());
    let body = match protocol {
        Protocol::Ec2Query => {
            let one = map([("Error", map([("Code", code.into()), ("Message", message.into())]))]);
            let body = map([("Errors", one), ("RequestID", request_id.into())]);
            xml::document("Response", "", &body).into_bytes()
        }
        Protocol::AwsQuery | Protocol::RestXml => {
            let one = map([
                ("Type", kind.into()),
                ("Code", code.into()),
                ("Message", message.into()),
            ]);
            let body = map([("Error", one), ("RequestId", request_id.into())]);
            xml::document("ErrorResponse", namespace(service), &body).into_bytes()
        }
        Protocol::Cbor => cbor::encode(&map([("__type", shape(code).into()), ("message", message.into())])),
        Protocol::RestJson => json::encode(&map([("message", message.into())])),
        Protocol::Json => json::encode(&map([("__type", shape(code).into()), ("message", message.into())])),
    };
    let mut response = respond(protocol, status, body, request_id);
    if matches!(protocol, Protocol::Cbor | Protocol::Json)
        && let Ok(value) = HeaderValue::from_str(&format!("{code};{kind}"))
    {
        response.headers_mut().insert("x-amzn-query-error", value);
    }
    if protocol == Protocol::RestJson
        && let Ok(value) = HeaderValue::from_str(shape(code))
    {
        response.headers_mut().insert("x-amzn-errortype", value);
    }
    response
}

/// The name of an error's shape in the models of the JSON and CBOR services where it is not the code that `awsQuery` answered.
fn shape(code: &str) -> &str {
    match code {
        "InvalidParameterValue" => "InvalidParameterValueException",
        "InvalidParameterCombination" => "InvalidParameterCombinationException",
        "MissingParameter" => "MissingRequiredParameterException",
        "InvalidFormat" => "InvalidFormatFault",
        "Throttling" => "ThrottlingException",
        "InvalidAction" => "UnknownOperationException",
        other => other,
    }
}

fn respond(protocol: Protocol, status: StatusCode, body: Vec<u8>, request_id: &str) -> Response<Full<Bytes>> {
    let content_type = match protocol {
        Protocol::Ec2Query => "text/xml;charset=UTF-8",
        Protocol::AwsQuery | Protocol::RestXml => "text/xml",
        Protocol::Cbor => "application/cbor",
        Protocol::Json => "application/x-amz-json-1.0",
        Protocol::RestJson => "application/json",
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if protocol == Protocol::Cbor {
        headers.insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_is_read_from_the_signature() {
        let header =
            "AWS4-HMAC-SHA256 Credential=AK/IA/20261123/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=0";
        let expected = Scope {
            region: "us-east-1".into(),
            service: "ec2".into(),
        };
        assert_eq!(scope(header), Some(expected));
        for broken in [
            "",
            "Bearer x",
            "Credential=a/b",
            "Credential=a/20261123//ec2/aws4_request",
        ] {
            assert_eq!(scope(broken), None, "{broken}");
        }
    }

    #[test]
    fn errors_have_each_protocols_shape() {
        let error = AwsError::bad_request("InvalidParameterValue", "a < b");
        for (protocol, needle) in [
            (
                Protocol::Ec2Query,
                "<Response><Errors><Error><Code>InvalidParameterValue</Code><Message>a &lt; b</Message>",
            ),
            (
                Protocol::AwsQuery,
                "<Error><Type>Sender</Type><Code>InvalidParameterValue</Code>",
            ),
            (Protocol::Json, "\"__type\":\"InvalidParameterValueException\""),
        ] {
            let response = failure(protocol, "ec2", &error, "id");
            assert_eq!(response.status(), 400);
            let body = format!("{:?}", response.body()).replace("\\\"", "\"");
            assert!(body.contains(needle), "{protocol:?}: {body}");
        }
        let response = failure(Protocol::Cbor, "monitoring", &error, "id");
        assert_eq!(response.headers()["x-amzn-query-error"], "InvalidParameterValue;Sender");
        assert_eq!(response.headers()["smithy-protocol"], "rpc-v2-cbor");
    }
}
