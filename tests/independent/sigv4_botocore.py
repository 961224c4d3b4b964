"""botocore signs again what a server received, one JSON request a line; every signature must be the one that was sent.

usage: sigv4_botocore.py FILE SECRET_KEY TOKEN, prints how many requests agreed
"""

import base64
import hashlib
import json
import re
import sys

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)


def check(sent, secret, token):
    headers = {name: value for name, value in sent["headers"]}
    key, day, region, service, signed, signature = AUTHORIZATION.fullmatch(headers["authorization"]).groups()
    names = signed.split(";")
    assert {"host", "x-amz-date", "x-amz-security-token"} <= set(names), names
    assert not {"connection", "user-agent", "accept-encoding"} & set(names), names
    assert headers["x-amz-security-token"] == token
    assert headers["x-amz-date"].startswith(day)
    body = base64.b64decode(sent["body"])
    if service == "s3":
        assert headers["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()
    signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(Credentials(key, secret, token), service, region)
    request = AWSRequest(
        method=sent["method"],
        url=f"http://{headers['host']}{sent['target']}",
        data=body,
        headers={name: headers[name] for name in names},
    )
    request.context["timestamp"] = headers["x-amz-date"]
    canonical = signer.canonical_request(request)
    again = signer.signature(signer.string_to_sign(request, canonical), request)
    assert again == signature, f"{sent}\n{canonical}"


def main():
    path, secret, token = sys.argv[1:]
    count = 0
    with open(path) as lines:
        for line in lines:
            check(json.loads(line), secret, token)
            count += 1
    print(count)


main()
