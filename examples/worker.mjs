// A worker: takes jobs from a queue of Weir, does them, acknowledges them.
//
//     node examples/worker.mjs [redis://localhost:6379] [jobs]
//
// SIGTERM and SIGINT let it finish the job that it is at and give the others back.

import { hostname } from 'node:os';
import { createClient } from 'redis';

const LEASE_MS = 30_000;
const COUNT = 10;
const BLOCK_MS = 1_000;

/** What is to be done with a job. An error means that it has failed. */
async function handle(job) {
  if (job.startsWith('fail:')) throw new Error(job.slice(5).trim());
  console.log(`done: ${job}`);
}

const [url = 'redis://localhost:6379', queue = 'jobs'] = process.argv.slice(2);
const name = `${hostname()}:${process.pid}`;
const client = createClient({ url });
client.on('error', (error) => console.error(`connection: ${error.message}`));
await client.connect();
// The one that waits for jobs is kept apart: while it waits, nothing else could be said over it.
const waiting = await client.duplicate().on('error', () => {}).connect();
const call = (...words) => client.sendCommand(words.map(String));

let stopped = false;
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => (stopped = true));

// The queue, and the one for jobs that failed too often. Declaring what is there with the same options changes nothing.
await call('MQ.EXCHANGE', 'DECLARE', `${queue}:failed`, 'TYPE', 'fanout');
await call('MQ.QUEUE', 'DECLARE', `${queue}:dead`);
await call('MQ.BIND', `${queue}:failed`, 'QUEUE', `${queue}:dead`, '');
const limits = ['DELIVERYLIMIT', 2, 'RETRY', 'failed', 1_000, 60_000, 'LEASE', LEASE_MS];
await call('MQ.QUEUE', 'DECLARE', queue, 'DLX', `${queue}:failed`, ...limits);
console.log(`${name} works on ${queue}`);

/** Does one job; its lease is extended meanwhile. */
async function work(receipt, job) {
  const extend = () => call('MQ.TOUCH', queue, 'LEASE', LEASE_MS, 'IDS', 1, receipt).catch(() => {});
  const timer = setInterval(extend, LEASE_MS / 3);
  try {
    await handle(job);
    await call('MQ.ACK', queue, 'IDS', 1, receipt);
  } catch (error) {
    console.log(`failed: ${error.message}`);
    await call('MQ.NACK', queue, 'FAIL', 'IDS', 1, receipt, 'REASON', error.message);
  } finally {
    clearInterval(timer);
  }
}

const options = ['CONSUMER', name, 'COUNT', COUNT, 'BLOCK', BLOCK_MS, 'LEASE', LEASE_MS, 'COMPACT', 'QUEUES', 1, queue];
while (!stopped) {
  // With COMPACT a message is its queue, its receipt and its body.
  const messages = await waiting.sendCommand(['MQ.GET', ...options].map(String));
  for (const [, receipt, job] of messages ?? []) {
    if (stopped) await call('MQ.NACK', queue, 'SILENT', 'IDS', 1, receipt);
    else await work(receipt, job);
  }
}
console.log(`${name} has stopped`);
await Promise.all([client.close(), waiting.close()]);
