"""Signs IAM database tokens by botocore: a JSON list of questions on standard input, one token a line on standard output."""
import datetime
import json
import sys
from unittest import mock

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

for ask in json.load(sys.stdin):
    now = datetime.datetime.fromtimestamp(ask["seconds"], datetime.timezone.utc)
    keys = Credentials(ask["id"], ask["secret"], ask.get("token"))
    request = AWSRequest(
        method="GET",
        url=f"https://{ask['host']}:{ask['port']}/",
        params={"Action": "connect", "DBUser": ask["user"]},
    )
    with mock.patch("botocore.auth.get_current_datetime", return_value=now):
        SigV4QueryAuth(keys, "rds-db", ask["region"], expires=900).add_auth(request)
    print(request.url.removeprefix("https://"))
