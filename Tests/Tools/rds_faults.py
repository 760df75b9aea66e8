"""Stands between a client and moto's RDS, and plants what moto never does: refusals, throttling, states that take their time.

    rds_faults.py MOTO_ENDPOINT FOLDER

FOLDER/rules.json is a list, read anew whenever it was changed. A rule has an "action" and, where it is only for one instance or cluster, the start of its "identifier"; it
holds for the first "times" calls (default: for all), after "skip" calls. It either answers itself, by "status" and "code" (and
"message"), or asks moto and puts "replace" ([[pattern, text], …], regular expressions) to the answer. "after": true asks moto
first and answers itself all the same, as a connection that is lost behind the request would.

FOLDER gets `port` with the port of 127.0.0.1 that this listens on, and `calls`, one JSON object a line with the form of each call.
"""
import http.server
import json
import os
import re
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

moto, folder = sys.argv[1:3]
lock = threading.Lock()
text, rules = None, []


def current_rules():
    global text, rules
    with open(os.path.join(folder, "rules.json")) as file:
        found = file.read()
    if found != text:
        text, rules = found, json.loads(found)
    return rules


def chosen(form):
    """The first rule for that call which still holds; calls are counted."""
    names = [value for name, value in form.items() if name.endswith("Identifier")]
    with lock:
        for rule in current_rules():
            if rule["action"] != form.get("Action"):
                continue
            if not any(name.startswith(rule.get("identifier", "")) for name in names):
                continue
            rule["seen"] = rule.get("seen", 0) + 1
            nth = rule["seen"] - rule.get("skip", 0)
            if 0 < nth <= rule.get("times", 1 << 30):
                return rule
    return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        form = dict(urllib.parse.parse_qsl(body.decode()))
        with lock, open(os.path.join(folder, "calls"), "a") as calls:
            calls.write(json.dumps(form) + "\n")
        rule = chosen(form) or {}
        status, answer = 200, b""
        if "code" not in rule or rule.get("after"):
            status, answer = self.asked(body)
            for pattern, text in rule.get("replace", []):
                answer = re.sub(pattern, text, answer.decode(), flags=re.S).encode()
        if "code" in rule:
            status = rule.get("status", 400)
            answer = (
                '<ErrorResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/"><Error><Type>Sender</Type>'
                f"<Code>{rule['code']}</Code><Message>{rule.get('message', 'planted')}</Message></Error>"
                "<RequestId>planted</RequestId></ErrorResponse>"
            ).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def asked(self, body):
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type", "X-Amz-Date") if name in self.headers}
        try:
            with urllib.request.urlopen(urllib.request.Request(moto, data=body, headers=headers)) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(os.path.join(folder, "port.new"), "w") as port:
    port.write(str(server.server_address[1]))
os.rename(os.path.join(folder, "port.new"), os.path.join(folder, "port"))
server.serve_forever()
