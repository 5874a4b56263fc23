// One BullMQ worker; the ledger's lines are as in ledger.py.
const fs = require("node:fs");
const { Worker } = require("bullmq");
const IORedis = require("ioredis");

function write(job, event) {
  const at = Number(process.hrtime.bigint()) / 1e9;
  const file = fs.openSync(process.env.FAULT_LEDGER, "a");
  fs.writeSync(file, JSON.stringify({ job, event, pid: process.pid, at }) + "\n");
  fs.closeSync(file);
}

async function perform({ data: { job } }) {
  write(job, "start");
  await new Promise((done) => setTimeout(done, 50 + (150 * ((job * 37) % 151)) / 150));
  write(job, "end");
}

const connection = new IORedis(process.env.REDIS_URL, { maxRetriesPerRequest: null });
connection.on("error", (error) => console.error(error.message));
const worker = new Worker("faults", perform, { connection });
worker.on("error", (error) => console.error(error));
worker.on("failed", (job, error) => console.error(job && job.id, error.message));

async function stop() {
  await worker.close();
  process.exit(0);
}
process.on("SIGTERM", stop);
process.on("SIGINT", stop);
