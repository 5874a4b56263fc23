// One BullMQ worker of BENCH_CONCURRENCY; measures as benchmarks/handlers.py does.
const fs = require("node:fs");
const path = require("node:path");
const { Worker } = require("bullmq");
const IORedis = require("ioredis");

const FOLDER = process.env.BENCH_FOLDER;
const GATED = process.env.BENCH_GATED === "1";
const GO = path.join(FOLDER, "go");
const [ENDED, FIRST, LAST, AT_GATE] = [0, 1, 2, 3];
const cells = new Float64Array(4);
const meter = fs.openSync(path.join(FOLDER, `${process.pid}.meter`), "w");
const stampsPath = path.join(FOLDER, "stamps");
const stamps = fs.existsSync(stampsPath) ? fs.openSync(stampsPath, "r+") : null;
const seconds = () => Number(process.hrtime.bigint()) / 1e9; // CLOCK_MONOTONIC, as in Python
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

const write = () => fs.writeSync(meter, new Uint8Array(cells.buffer), 0, 32, 0);
let written = 0;
setInterval(() => {
  if (cells[ENDED] !== written) write();
  written = cells[ENDED];
}, 20).unref();

async function enter() {
  cells[AT_GATE] = 1;
  write();
  while (GATED && !fs.existsSync(GO)) await wait(2);
  cells[FIRST] = cells[FIRST] || seconds();
}

function ended() {
  cells[ENDED] += 1;
  cells[LAST] = seconds();
}

function stamp(n) {
  const now = process.hrtime.bigint();
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(now);
  fs.writeSync(stamps, bytes, 0, 8, 8 * n);
}

const JOBS = {
  noop: async () => ended(),
  result: async () => (ended(), { ok: true }),
  sleep: async (delay) => (await wait(delay * 1000), ended()),
  stamp: async (n) => stamp(n),
  mixed: async (n) => (stamp(n), n % 100 === 70 && (await wait(2000))),
};

async function perform({ name, data }) {
  if (!cells[FIRST] && name !== "stamp" && name !== "mixed") await enter();
  return JOBS[name](...data);
}

const connection = new IORedis(process.env.REDIS_URL, { maxRetriesPerRequest: null });
const worker = new Worker("bench", perform, {
  connection,
  concurrency: Number(process.env.BENCH_CONCURRENCY),
});
worker.on("error", (error) => console.error(error));
worker.on("failed", (job, error) => console.error(job && job.id, error));
process.on("SIGTERM", () => process.exit(0));
