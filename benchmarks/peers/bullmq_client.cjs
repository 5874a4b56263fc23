// Enqueues on orders from the runner, as benchmarks/client.py does; a caller is a promise.
const readline = require("node:readline");
const { Queue } = require("bullmq");
const IORedis = require("ioredis");

const connection = new IORedis(process.env.REDIS_URL);
// Without results, nothing is kept of a job that ended: BullMQ's advice for throughput.
const defaultJobOptions = process.env.BENCH_RESULTS ? {} : { removeOnComplete: true };
const queue = new Queue("bench", { connection, defaultJobOptions });
const nanoseconds = () => Number(process.hrtime.bigint());
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

async function timed(work) {
  const started = nanoseconds();
  await work();
  return { seconds: (nanoseconds() - started) / 1e9 };
}

async function repeat(count, job, data) {
  for (let done = 0; done < count; done++) await queue.add(job, data);
}

const ACTS = {
  one: ({ job, arguments: data, count }) => timed(() => repeat(count, job, data)),

  bulk: ({ job, arguments: data, count, batch }) =>
    timed(async () => {
      const jobs = Array.from({ length: batch }, () => ({ name: job, data }));
      for (let done = 0; done < count; done += batch) await queue.addBulk(jobs);
    }),

  many: async ({ job, arguments: data, count, callers }) => {
    const share = Math.floor(count / callers);
    await repeat(callers, job, data);
    const call = () => repeat(share, job, data);
    return timed(() => Promise.all(Array.from({ length: callers }, call)));
  },

  paced: async ({ plan }) => {
    const [before, after, zero] = [[], [], nanoseconds()];
    for (const [moment, job, first, count] of plan) {
      // Timers of Node are exact to a millisecond, and so is where a call falls in its plan.
      const left = zero / 1e6 + moment * 1000 - nanoseconds() / 1e6;
      if (left > 0) await wait(left);
      const jobs = Array.from({ length: count }, (_, i) => ({ name: job, data: [first + i] }));
      const called = nanoseconds();
      await (count > 1 ? queue.addBulk(jobs) : queue.add(job, jobs[0].data));
      const returned = nanoseconds();
      for (let i = 0; i < count; i++) {
        before.push(called);
        after.push(returned);
      }
    }
    return { before, after };
  },
};

async function main() {
  await queue.waitUntilReady();
  say({ ready: true });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    try {
      say(await ACTS[order.do](order));
    } catch (error) {
      say({ error: `${error.name}: ${error.message}` });
    }
  }
  process.exit(0);
}
main();
