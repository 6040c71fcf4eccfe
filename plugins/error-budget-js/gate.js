// The gate error-budget in JavaScript: the same parameters, verdicts and cases as the one in Rust.
//
// A record is an object, `none` is null, a variant has a tag and a value, and what is thrown is a
// gate error. The build puts the schema into `schema.js`.

import { metric } from 'tidegate:gate/telemetry@1.0.0';
import { schema } from './schema.js';

const DEFAULTS = {
  slo: 99.9,
  window_ms: 60000,
  min_requests: 100,
  max_burn: 10,
  on_no_data: 'hold',
};

export function describe() {
  return { name: 'error-budget-js', version: '1.0.0', paramsSchema: schema };
}

export function evaluate(call) {
  const params = { ...DEFAULTS, ...JSON.parse(call.params) };
  return decide(params, call.weightPercent, {
    requests: metric('green', 'requests', params.window_ms),
    errorRate: metric('green', 'error_rate', params.window_ms),
  });
}

// With too few requests it holds, unless green has no weight: waiting would bring none, and the
// rollout could never begin.
function decide(params, weightPercent, seen) {
  const isMeasured = seen.requests != null && seen.errorRate != null;
  const requests = isMeasured ? seen.requests : 0;
  const window = params.window_ms / 1000;
  if (requests < params.min_requests) {
    const passesWithout = requests === 0 && params.on_no_data === 'pass';
    if (passesWithout || weightPercent <= 0) return { tag: 'pass' };
    const missing = params.min_requests - requests;
    const reason =
      `${missing} more green requests: ${requests} of ${params.min_requests} ` +
      `in the last ${window} s`;
    return { tag: 'hold', val: { reason, retryAfterMs: null } };
  }
  const limit = params.max_burn * (100 - params.slo);
  if (seen.errorRate > limit) {
    const reason =
      `green's error rate is ${seen.errorRate.toFixed(3)}% of ${requests} requests in the last ` +
      `${window} s, above ${limit.toFixed(3)}% (${params.max_burn} times the error budget of an ` +
      `SLO of ${params.slo}%)`;
    return { tag: 'fail', val: reason };
  }
  return { tag: 'pass' };
}
