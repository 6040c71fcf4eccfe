#!/bin/sh
# Sees to it that what a build needs is there: Rust, a C compiler, make and cmake. With `test`, that
# what the tests run besides is there, too.
#
# Pingora's zlib-ng is built with cmake; SQLite, zstd, ring and parts of wasmtime with the C
# compiler alone. On Debian, as root, what is missing is installed; otherwise it is named.
set -eu
cd "${0%/*}/.."

have() { command -v "$1" >/dev/null 2>&1; }

if ! have cargo; then
  echo "cargo is missing: install Rust 1.95 or later (https://rustup.rs)" >&2
  exit 1
fi

missing=
have cmake || missing="$missing cmake"
have make || missing="$missing make"
# libc6-dev brings the headers, which a compiler alone may lack.
if ! have cc || ! printf '#include <stdlib.h>\n' | cc -E - >/dev/null 2>&1; then
  missing="$missing gcc libc6-dev"
fi
if [ "${1:-build}" = test ]; then
  have curl || missing="$missing curl"
  have h2load || missing="$missing nghttp2-client"
  have npm || missing="$missing npm"
  have openssl || missing="$missing openssl"
  have python3 || missing="$missing python3"
  # Their binaries alone are run, by the tests of alarms and of a gate.
  have prometheus || missing="$missing prometheus"
  have prometheus-alertmanager || missing="$missing prometheus-alertmanager"
  # venv without ensurepip makes environments without pip.
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
  # Without them pip trusts nobody, on Debian.
  ! have apt-get || [ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
fi

install_missing() {
  if ! have apt-get; then
    echo "missing:$missing (the names of Debian's packages); install them and try again" >&2
    exit 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    echo "missing:$missing" >&2
    echo "install them and try again: apt-get install --no-install-recommends$missing" >&2
    exit 1
  fi
  echo "installing:$missing"
  apt-get update
  # Unquoted: each word is a package. Where systemd runs, a package with a daemon does not start it.
  DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1 apt-get install -y --no-install-recommends $missing
}
[ -z "$missing" ] || install_missing

# The clients in Python that the tests run live in an environment of their own, made once.
venv=target/clients-venv
wanted=tests/clients/requirements.txt
made() { cmp -s "$wanted" "$venv/made-of.txt" && "$venv/bin/python" -c '' 2>/dev/null; }
if [ "${1:-build}" = test ] && ! made; then
  echo "making $venv"
  python3 -m venv --clear "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
    --requirement "$wanted"
  cp "$wanted" "$venv/made-of.txt"
fi
