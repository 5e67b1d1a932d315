#!/usr/bin/env bash
# Installs the Debian packages that tests start servers from: those of tests/debian-packages.txt that are not here yet.
# Where that is not possible, it says so, and the tests that need them are skipped by name.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
while read -r package command _; do
    [ -n "$package" ] && [ "${package:0:1}" != "#" ] && ! command -v "$command" >/dev/null && missing+=("$package")
done < tests/debian-packages.txt
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "set-up: tests of ${missing[*]} will be skipped; to run them: sudo apt-get install ${missing[*]}"
    exit 0
fi
echo "set-up: installing ${missing[*]} for the tests"
export DEBIAN_FRONTEND=noninteractive
# No service of theirs is wanted: each test starts a server of its own on a free port.
[ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; policy_made=1; }
trap '[ -z "${policy_made:-}" ] || rm -f /usr/sbin/policy-rc.d' EXIT
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null; then
    echo "set-up: ${missing[*]} could not be installed; the tests that need them are skipped by name"
fi
