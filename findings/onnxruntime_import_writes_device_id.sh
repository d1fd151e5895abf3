#!/usr/bin/env bash
# onnxruntime 1.32.0, Linux: `import onnxruntime` alone writes an id of the machine into the home folder.
#
# One would guess: telemetry is a matter of Windows, as the packages before had it, and a library that is imported to
# compute a file writes nothing. Under Linux the official wheel now has the address of a collector of its maker compiled
# in, and the import, before any session, makes ~/.cache/Microsoft/DeveloperTools/.onnxruntime/deviceid and a database
# of events beside it. `disable_telemetry_events()` comes too late for that: it needs the import. The variable
# ORT_DISABLE_TELEMETRY=1 keeps both away; DO_NOT_TRACK=1 does not.
#
# Seen on CPython 3.11, Linux x86_64:
#   import: deviceid onnxruntime.db
#   import, then disable_telemetry_events(): deviceid onnxruntime.db
#   import with DO_NOT_TRACK=1: deviceid onnxruntime.db
#   import with ORT_DISABLE_TELEMETRY=1: nothing
set -euo pipefail

here=$(realpath "$0")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0

look() { # what it is called, a variable, and Python
  rm -rf "$folder/home" && mkdir "$folder/home"
  env -u XDG_CACHE_HOME "$2" HOME="$folder/home" "$folder/venv/bin/python" -c "$3"
  found=$(find "$folder/home" -type f -printf '%f\n' | sort | tr '\n' ' ')
  echo "$1: ${found:-nothing}" | sed 's/ $//' | tee -a "$folder/seen"
}
look "import" _=1 "import onnxruntime"
look "import, then disable_telemetry_events()" _=1 "import onnxruntime as o; o.disable_telemetry_events()"
look "import with DO_NOT_TRACK=1" DO_NOT_TRACK=1 "import onnxruntime"
look "import with ORT_DISABLE_TELEMETRY=1" ORT_DISABLE_TELEMETRY=1 "import onnxruntime"

sed -n 's/^#   \(import.*\)$/\1/p' "$here" | diff - "$folder/seen"
echo "as stated: importing onnxruntime writes an id of the machine"
