"""The probe against a bucket of the real gateway, beside rclone: what a page costs there is the gateway's own work."""

import concurrent.futures
import pathlib
import re
import subprocess

import boto3
import botocore.config

import s3
from measure import CannotMeasure, figure, heading, median, ratio, say, side_by_side
from references import make_table, psql

SERVICES = pathlib.Path(__file__).resolve().parents[2] / "services"
KEYS = 50_000


class Gateway:
    """A gateway that runs, with one bucket; by the names that s3.probe and s3.rclone know."""

    def __init__(self, exports):
        found = dict(re.findall(r"^export (MUSTER_TEST_S3_\w+)=(.*)$", exports, re.MULTILINE))
        self.endpoint = found["MUSTER_TEST_S3_ENDPOINT"]
        self.access = {
            "AWS_ACCESS_KEY_ID": found["MUSTER_TEST_S3_ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": found["MUSTER_TEST_S3_SECRET_KEY"],
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def fill(self, keys, sizes):
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.access["AWS_SECRET_ACCESS_KEY"],
            config=botocore.config.Config(
                s3={"addressing_style": "path"}, request_checksum_calculation="when_required", max_pool_connections=16
            ),
        )
        client.create_bucket(Bucket=s3.BUCKET)

        def put(pair):
            client.put_object(Bucket=s3.BUCKET, Key=pair[0], Body=b"x" * pair[1])

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for _ in pool.map(put, zip(keys, sizes)):
                pass


def main(place):
    subprocess.run([SERVICES / "install.sh", "s3"], stdout=subprocess.DEVNULL, check=True)
    folder = place.work / "gateway"
    try:
        started = subprocess.run([SERVICES / "rgw.sh", "start", folder], stdout=subprocess.PIPE, text=True)
        if started.returncode != 0:
            raise CannotMeasure("the gateway does not start")
        gateway = Gateway(started.stdout)
        table = make_table(place, KEYS)
        psql(place, f"UPDATE public.{table} SET avatar_bytes = 1 + id % 7")
        rows = psql(place, f"SELECT avatar_key, avatar_bytes FROM public.{table}").split()
        say(f"writing {KEYS:,} objects")
        gateway.fill(*zip(*((key, int(size)) for key, _, size in (row.partition("|") for row in rows))))
        results = side_by_side(
            place.runs,
            probe=lambda: s3.probe(place, gateway, table, KEYS, settings=", listing: list"),
            rclone=lambda: s3.rclone_list(gateway),
        )
        psql(place, f"DROP TABLE public.{table}")
    finally:
        subprocess.run([SERVICES / "rgw.sh", "stop", folder], stdout=subprocess.DEVNULL, check=False)
    heading(f"gateway: {KEYS:,} rows, {KEYS:,} objects")
    process = figure("the whole process", [run.wall for run in results["probe"]])
    ratio("rclone / process", median([run.wall for run in results["rclone"]]), process, at_least=2.5)
