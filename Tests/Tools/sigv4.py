"""Signs requests with botocore, as a second opinion on our own signatures.

Reads one JSON object a line: method, origin, bucket, key (hex), query (pairs of hex), headers, body (hex), region, token.
Writes one line each: the target, a tab, the Authorization header.
"""
import datetime
import json
import sys

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import percent_encode

instant = datetime.datetime(2026, 11, 14, 14, 30, 5)
for name in ("get_current_datetime",):
    setattr(botocore.auth, name, lambda *_, **__: instant)

for line in sys.stdin:
    ask = json.loads(line)
    path = "/" + ask["bucket"] + "/" + percent_encode(bytes.fromhex(ask["key"]), safe="/~")
    pairs = [(bytes.fromhex(name), bytes.fromhex(value)) for name, value in ask["query"]]
    query = "&".join(percent_encode(name, safe="-._~") + "=" + percent_encode(value, safe="-._~") for name, value in pairs)
    target = path + ("?" + query if query else "")
    request = AWSRequest(
        method=ask["method"], url=ask["origin"] + target, headers=ask["headers"], data=bytes.fromhex(ask["body"]))
    credentials = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ask["token"])
    botocore.auth.S3SigV4Auth(credentials, "s3", ask["region"]).add_auth(request)
    print(target + "\t" + request.headers["Authorization"])
