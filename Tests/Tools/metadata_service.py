"""An instance's metadata service, version 2 alone: metadata_service.py DIRECTORY ACCESS_KEY SECRET TOKEN

Writes its port to DIRECTORY/port, and each request that it answered to DIRECTORY/requests. What it says of credentials lasts for
an hour. (Amazon EC2 User Guide, "Use the Instance Metadata Service"; botocore, which the tests ask beside Muster, reads it too.)
"""
import datetime
import http.server
import json
import os
import sys

directory, access, secret, token = sys.argv[1:5]
SESSION = "a-session-of-the-metadata-service"
ROLE = "drill-role"
CREDENTIALS = "/latest/meta-data/iam/security-credentials/"


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, text):
        with open(os.path.join(directory, "requests"), "a") as log:
            log.write(f"{status} {self.command} {self.path}\n")
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        lifetime = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        sound = self.path == "/latest/api/token" and lifetime.isdigit() and 1 <= int(lifetime) <= 21600
        # A request that somebody forwarded is none of this machine's.
        if self.headers.get("X-Forwarded-For"):
            self.answer(403, "")
        else:
            self.answer(200, SESSION) if sound else self.answer(400, "")

    def do_GET(self):
        if self.headers.get("X-aws-ec2-metadata-token") != SESSION:
            self.answer(401, "")
        elif self.path == CREDENTIALS:
            self.answer(200, ROLE + "\n")
        elif self.path == CREDENTIALS + ROLE:
            expiry = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
            self.answer(
                200,
                json.dumps(
                    {
                        "Code": "Success",
                        "LastUpdated": "2026-01-01T00:00:00Z",
                        "Type": "AWS-HMAC",
                        "AccessKeyId": access,
                        "SecretAccessKey": secret,
                        "Token": token,
                        "Expiration": expiry.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    }
                ),
            )
        else:
            self.answer(404, "")

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
with open(os.path.join(directory, "port.new"), "w") as file:
    file.write(str(server.server_address[1]))
os.rename(os.path.join(directory, "port.new"), os.path.join(directory, "port"))
server.serve_forever()
