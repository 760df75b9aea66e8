"""Whose credentials these are, by an independent client: caller.py metadata ENDPOINT | caller.py sts ENDPOINT ACCESS_KEY

`metadata` prints the access key that botocore gets from an instance's metadata service; `sts` prints the ARN that moto's STS knows
an access key by.
"""
import sys

import boto3
from botocore.credentials import InstanceMetadataProvider
from botocore.utils import InstanceMetadataFetcher

if sys.argv[1] == "metadata":
    fetcher = InstanceMetadataFetcher(timeout=5, num_attempts=1, config={"ec2_metadata_service_endpoint": sys.argv[2]})
    print(InstanceMetadataProvider(iam_role_fetcher=fetcher).load().access_key)
else:
    client = boto3.client(
        "sts", endpoint_url=sys.argv[2], region_name="us-east-1", aws_access_key_id=sys.argv[3], aws_secret_access_key="x"
    )
    print(client.get_caller_identity()["Arn"])
