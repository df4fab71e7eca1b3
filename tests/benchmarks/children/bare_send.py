"""The yardstick of a cold `send`: argparse, sqlite3 and http.client do the same once.

python bare_send.py --database FILE --url http://127.0.0.1:PORT/api/chat.postMessage --title TEXT
"""

import argparse
import http.client
import json
import sqlite3
import time
import urllib.parse

parser = argparse.ArgumentParser()
for name in ("--database", "--url", "--title"):
    parser.add_argument(name, required=True)
asked = parser.parse_args()

connection = sqlite3.connect(asked.database)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("PRAGMA synchronous = FULL")
connection.execute("CREATE TABLE IF NOT EXISTS sent (id INTEGER PRIMARY KEY, title TEXT, at REAL, state TEXT, ts TEXT)")
row = connection.execute("INSERT INTO sent (title, at, state) VALUES (?, ?, 'sending')", (asked.title, time.time()))
connection.commit()

parts = urllib.parse.urlsplit(asked.url)
slack = http.client.HTTPConnection(parts.netloc, timeout=10)
message = {"channel": "#ops", "text": asked.title, "blocks": [{"type": "header", "text": asked.title}]}
headers = {"Authorization": "Bearer xoxb-benchmark", "Content-Type": "application/json"}
slack.request("POST", parts.path, json.dumps(message), headers)
answer = json.loads(slack.getresponse().read())
assert answer["ok"], answer

connection.execute("UPDATE sent SET state = 'success', ts = ? WHERE id = ?", (answer["ts"], row.lastrowid))
connection.commit()
print(f"sent {row.lastrowid} success {answer['ts']}")
