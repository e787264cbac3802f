#!/usr/bin/env bash
# Puts GitHub's OpenAPI descriptions and the schemas of its webhooks into the cache. Quick when they are there.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dir="${TIDEGATE_CACHE:-$root/.cache}/contract"

die() { echo "fetch.sh: $*" >&2; exit 1; }

sha() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d' ' -f1; }

tmp=
trap '[ -z "$tmp" ] || rm -rf "$tmp"' EXIT

# fetch NAME SHA256 PACKAGE FILE
fetch() {
  local to="$dir/$1" want=$2 package=$3 file=$4 got
  if [ -f "$to" ] && [ "$(sha <"$to")" = "$want" ]; then return; fi
  command -v npm >/dev/null || die "npm is needed to fetch $package"
  echo "fetching $file of $package"
  tmp=$(mktemp -d)
  (cd "$tmp" && npm pack --loglevel=error --ignore-scripts "$package" >/dev/null) || die "npm cannot fetch $package: is the registry within reach?"
  tar -xzf "$tmp"/*.tgz -C "$tmp" "package/$file" || die "$package has no $file"
  got=$(sha <"$tmp/package/$file")
  [ "$got" = "$want" ] || die "$file of $package has the SHA-256 $got, not $want"
  mkdir -p "$dir"
  # In the directory first: a rename within it cannot leave half a file.
  cp "$tmp/package/$file" "$to.$$" && mv "$to.$$" "$to"
  rm -rf "$tmp"
}

fetch api.github.com.json 829b4bebb19a53133289f7b0bc819f4f1118115821db2ca9f25e9ee995a7da2a \
  @octokit/openapi@23.0.2 generated/api.github.com.json
fetch ghes-3.10.json d28f9c89e55ea708b5dddc3575c29babbe55a53cac0a3fc857253561dc69b093 \
  @octokit/openapi@16.0.0 generated/ghes-3.10.json
fetch ghes-3.19.json 8c852cf1bde4d40ee19dffd9cdd18650bfad09f9dd0cd5039b9d775056104139 \
  @octokit/openapi@23.0.2 generated/ghes-3.19.json
fetch webhooks.json ff15ae017ba3b877a44f636806155f986f7b707b31aa7eebde6da1d3366f2840 \
  @octokit/webhooks-schemas@7.6.1 schema.json
for from in "api.github.com api.github.com 09d8f0c617876ae9dad22e26fea5510bfcaad50ee7e602659f6db25b87b25815" \
  "ghes-3.4 ghes-34 7f86e37cebb616713ba4177175d9eafe42217d7aab601016103b3da2d1a37aea" \
  "ghes-3.5 ghes-35 e6c08d50c960441bb5b53feef5274a09e589b6d8998e5359f522c07b996e03ba"; do
  read -r name folder sum <<<"$from"
  fetch "examples-$name.json" "$sum" @octokit/webhooks-examples@7.6.1 "$folder/index.json"
done
