# The gate in Python; sourced by build.sh.

if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then debian python3 python3-venv; fi
# Without them pip trusts nobody, on Debian.
if command -v apt-get >/dev/null && [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then
  debian ca-certificates
fi
mkdir -p target/python
[ -x target/python/venv/bin/pip ] || python3 -m venv target/python/venv
target/python/venv/bin/pip install --quiet --requirement freeze-calendar-py/requirements.txt
cp freeze-calendar-py/gate.py target/python/
(
  cd target/python
  python3 -c '
import sys
print("SCHEMA =", repr(open(sys.argv[1], encoding="utf-8").read()))
' ../../freeze-calendar/params.schema.json >schema.py
  venv/bin/componentize-py -d "$root/wit" -w gate-with-clock componentize --stub-wasi gate \
    -o "$out/freeze-calendar-py.wasm"
)
