// The scenarios of the load tool for k6: the same requests, keys and shares, in k6's own executors.
//
//   k6 run -e PRODUCT_URL=$PRODUCT_URL -e PRODUCTS=12 -e SCENARIO=rush benches/clients/sale.js
//
// Settings (-e NAME=VALUE): SCENARIO rush | one-buyer | zipf | cancel-mix | open (default rush), PRODUCTS ids, comma
// separated, VUS connections (256), SECONDS (10), and for open RATE per second (1000).
// k6 knows nothing of the books: it counts what it was told. `run.sh` beside it holds that against the ledger.

import http from 'k6/http';
import exec from 'k6/execution';
import { Counter } from 'k6/metrics';

const scenario = __ENV.SCENARIO || 'rush';
const products = __ENV.PRODUCTS.split(',').map(Number);
const vus = Number(__ENV.VUS || 256);
const rate = Number(__ENV.RATE || 1000);
const seconds = Number(__ENV.SECONDS || 10);

const sold = new Counter('units_sold');
const givenBack = new Counter('units_given_back');
const refused = new Counter('refused');
const failed = new Counter('failed');

const closed = { executor: 'constant-vus', vus, duration: `${seconds}s` };
const open = {
  executor: 'constant-arrival-rate',
  rate,
  timeUnit: '1s',
  duration: `${seconds}s`,
  preAllocatedVUs: vus,
  maxVUs: vus,
};

export const options = {
  scenarios: { sale: scenario === 'open' ? open : closed },
  // Nothing of the body is looked at.
  discardResponseBodies: true,
  summaryTrendStats: ['med', 'p(99)', 'max'],
};

// Shares of Zipf's law with exponent 1.1, added up.
const shares = [];
products.reduce((sum, _, index) => (shares[index] = sum + Math.pow(index + 1, -1.1)), 0);

function choose(index) {
  if (scenario !== 'zipf') {
    return products[index % products.length];
  }
  const share = Math.random() * shares[shares.length - 1];
  return products[shares.findIndex((sum) => share < sum)];
}

function ask(product, verb, key, body) {
  const url = `${__ENV.PRODUCT_URL}/v1/products/${product}/stock/${verb}`;
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key };
  // One name for all urls: otherwise k6 keeps a series of each.
  return http.patch(url, JSON.stringify(body), { headers, tags: { name: verb } });
}

// Keys of two runs do not meet: ms since 1970, then the buyer. Here, because it is done once: what stands above is done
// by each VU for itself, at another time, and their keys would meet.
export function setup() {
  return Date.now() * 1000;
}

export default function (first) {
  const index = exec.scenario.iterationInTest;
  const orderId = first + index;
  const product = choose(index);
  const buyerId = scenario === 'one-buyer' ? `buyer-${first}` : `buyer-${orderId}`;
  const answer = ask(product, 'decrease-by-order', `DEC-${orderId}`, { orderId, quantity: 1, buyerId });
  if (answer.status === 200) {
    sold.add(1);
  } else if (answer.status >= 400 && answer.status < 500) {
    refused.add(1);
  } else {
    failed.add(1);
  }
  if (scenario === 'cancel-mix' && answer.status === 200 && Math.random() < 0.3) {
    const body = { orderId, quantity: 1, reason: 'ORDER_CANCELLED' };
    if (ask(product, 'increase-by-order', `INC-${orderId}`, body).status === 200) {
      givenBack.add(1);
    }
  }
}

export function handleSummary({ metrics }) {
  const count = (name) => (metrics[name] ? metrics[name].values.count : 0);
  const latency = metrics['http_req_duration'].values;
  const told = {
    client: 'k6',
    scenario,
    sold: count('units_sold') - count('units_given_back'),
    given_back: count('units_given_back'),
    refused: count('refused'),
    failed: count('failed'),
    dropped: count('dropped_iterations'),
    answers_per_second: Math.round(metrics['http_reqs'].values.rate),
    p50_ms: Number(latency.med.toFixed(1)),
    p99_ms: Number(latency['p(99)'].toFixed(1)),
  };
  return { stdout: `${JSON.stringify(told)}\n` };
}
