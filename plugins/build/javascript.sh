# The gate in JavaScript; sourced by build.sh.
#
# QuickJS with its WASI imports stubbed out: a gate has no use for them, and the host has none.

if ! command -v npm >/dev/null; then debian nodejs npm; fi
mkdir -p target/javascript
cp error-budget-js/gate.js error-budget-js/package.json target/javascript/
(
  cd target/javascript
  npm install --no-package-lock --no-audit --no-fund
  node -e '
    const text = require("node:fs").readFileSync(process.argv[1], "utf8");
    console.log(`export const schema = ${JSON.stringify(text)};`);
  ' ../../error-budget/params.schema.json >schema.js
  npx --no-install componentize-qjs -w "$root/wit" -n gate -j gate.js \
    -o "$out/error-budget-js.wasm" --sync --stub-wasi --opt-size
)
