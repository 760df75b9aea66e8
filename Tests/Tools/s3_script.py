"""Writes to S3 by boto3 what a script says, as any application does.

The script is a JSON list on standard input; each step is {"do": …, "bucket": …} with "key" as hexadecimal and "body" as text.
The endpoint and the credentials come from the environment, as all AWS tools read them.
"""
import json
import sys

import boto3
from botocore.config import Config

# Checksums of newer clients are not what older gateways know.
client = boto3.client(
    "s3",
    config=Config(
        s3={"addressing_style": "path"}, request_checksum_calculation="when_required", retries={"total_max_attempts": 2}
    ),
)


def run(step):
    bucket = step["bucket"]
    key = bytes.fromhex(step.get("key", "")).decode("utf-8")
    what = step["do"]
    if what == "bucket":
        client.create_bucket(Bucket=bucket)
    elif what == "versioning":
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": step["status"]})
    elif what == "put":
        client.put_object(Bucket=bucket, Key=key, Body=step.get("body", "content").encode())
    elif what == "upload":
        client.upload_file(step["file"], bucket, key)
    elif what == "delete":
        client.delete_object(Bucket=bucket, Key=key)
    elif what == "start_upload":
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"part")
    elif what == "list":
        where = {"Bucket": bucket, "Prefix": step["prefix"]}
        for page in client.get_paginator("list_object_versions").paginate(**where):
            for found in page.get("Versions", []):
                print("version", found["Key"].encode().hex(), found["VersionId"], found["ETag"], found["LastModified"])
            for found in page.get("DeleteMarkers", []):
                print("marker", found["Key"].encode().hex(), found["VersionId"], found["LastModified"])
        for found in client.list_multipart_uploads(**where).get("Uploads", []):
            print("upload", found["Key"].encode().hex(), found["UploadId"])
    elif what == "policy":
        client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(step["policy"]))
    else:
        sys.exit(f"unknown step {what}")


for step in json.load(sys.stdin):
    run(step)
