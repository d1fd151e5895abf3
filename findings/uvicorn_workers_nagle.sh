#!/usr/bin/env bash
# uvicorn 0.54.0: with --workers or --reload every answer on a kept connection takes 40 ms, with one process 1 ms.
#
# One would guess: workers make a server faster, and --reload changes nothing but that it reloads. For these, uvicorn
# makes the listening socket itself, by socket.socket(family), so its protocol is 0. asyncio sets TCP_NODELAY only on
# sockets whose protocol says TCP, and a connection has that of its listener. So Nagle's algorithm stays on: head and
# body of an answer are two writes, and the second one waits for the client's delayed acknowledgement. The same befalls
# whoever hands a socket of their own to uvicorn.Server.run or to loop.create_server. With proto=socket.IPPROTO_TCP it
# does not; uvloop sets TCP_NODELAY in any case.
#
# Seen on CPython 3.11, Linux x86_64:
#   one process: a kept connection answers in less than 20 ms
#   two workers: a kept connection answers in 35 ms or more
#   a socket of one's own: a kept connection answers in 35 ms or more
#   a socket of one's own that says TCP: a kept connection answers in less than 20 ms
set -euo pipefail

here=$(realpath "$0")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet uvicorn==0.54.0 h11==0.16.0
cd "$folder"
cat > app.py <<'APP'
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
APP
cat > own.py <<'OWN'
import socket, sys, uvicorn
from app import app
listener = socket.socket(socket.AF_INET, proto=int(sys.argv[2]))
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical")).run(sockets=[listener])
OWN
cat > seen.py <<'SEEN'
import http.client, signal, statistics, subprocess, sys, time
from pathlib import Path
port, what, *command = sys.argv[1:]
server = subprocess.Popen([sys.executable, *command])
try:
    for _ in range(600):
        try:
            http.client.HTTPConnection("127.0.0.1", int(port)).request("GET", "/")
            break
        except OSError:
            time.sleep(0.1)
    connection, took = http.client.HTTPConnection("127.0.0.1", int(port)), []
    for _ in range(60):
        start = time.perf_counter()
        connection.request("GET", "/")
        connection.getresponse().read()
        took.append(time.perf_counter() - start)
finally:
    server.send_signal(signal.SIGTERM)
    server.wait()
median = 1000 * statistics.median(took[20:])
how = "less than 20 ms" if median < 20 else "35 ms or more" if median >= 35 else f"{median:.0f} ms"
line = f"{what}: a kept connection answers in {how}"
print(f"{line} ({median:.1f})")
with Path("seen").open("a") as file:
    file.write(line + "\n")
SEEN
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
look() { # what it is called, and how the server is begun; PORT stands for its port
  local port what=$1
  shift
  port=$(free)
  venv/bin/python seen.py "$port" "$what" "${@//PORT/$port}"
}
bare=(-m uvicorn app:app --port PORT --lifespan off --log-level critical)
look "one process" "${bare[@]}"
look "two workers" "${bare[@]}" --workers 2
look "a socket of one's own" own.py PORT 0
look "a socket of one's own that says TCP" own.py PORT 6

sed -n 's/^#   \(.*: a kept connection .*\)$/\1/p' "$here" | diff - seen
echo "as stated: workers of uvicorn leave Nagle's algorithm on"
