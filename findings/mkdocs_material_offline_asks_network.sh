#!/usr/bin/env bash
# mkdocs-material 9.8.2: the built-in `offline` plugin adds a script of unpkg.com to the head of every page.
#
# One would guess: a site that is built with a plugin called offline, without fonts of elsewhere, reads without a
# network. Without the plugin it does (but for search from a disk); with the plugin every page asks a server on the
# internet for `iframe-worker/shim`, no version named, and hands it the address of who reads. Without a network search
# from a disk does not work, for which the plugin is there. The build says nothing, with --strict as well.
# A script of one's own whose name holds "iframe-worker" in `extra.polyfills` keeps it away (docs/_site here), or the
# `privacy` plugin, which downloads it once while the site is built, and so needs a network there.
#
# Seen on CPython 3.11, Linux x86_64:
#   without offline: 0 of 1 pages ask for https://unpkg.com/iframe-worker/shim
#   with offline: 1 of 1 pages ask for https://unpkg.com/iframe-worker/shim
#   with a script of one's own: 0 of 1 pages ask for https://unpkg.com/iframe-worker/shim
set -euo pipefail

here=$(realpath "$0")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mkdocs==1.6.1 mkdocs-material==9.8.2
mkdir "$folder/docs"
echo "# A page" > "$folder/docs/index.md"
echo "// of one's own" > "$folder/docs/iframe-worker.js"

look() { # what it is called, and further lines of the settings
  printf 'site_name: a site\ntheme: {name: material, font: false}\n%s\n' "$2" > "$folder/mkdocs.yml"
  (cd "$folder" && NO_MKDOCS_2_WARNING=1 venv/bin/mkdocs build --quiet --strict --site-dir site)
  if grep -q 'https://unpkg.com/iframe-worker/shim' "$folder/site/index.html"; then asks=1; else asks=0; fi
  echo "$1: $asks of 1 pages ask for https://unpkg.com/iframe-worker/shim" | tee -a "$folder/seen"
}
look "without offline" 'plugins: [search]'
look "with offline" 'plugins: [search, offline]'
look "with a script of one's own" $'plugins: [search, offline]\nextra: {polyfills: [iframe-worker.js]}'

sed -n 's/^#   \(with.*shim\)$/\1/p' "$here" | diff - "$folder/seen"
echo "as stated: the offline plugin of mkdocs-material asks the internet"
