// Enqueues the job whose number it reads, one a line, as producing.py does.
const readline = require("node:readline");
const { Queue } = require("bullmq");
const IORedis = require("ioredis");

const connection = new IORedis(process.env.REDIS_URL);
connection.on("error", (error) => console.error(error.message));
const queue = new Queue("faults", { connection, defaultJobOptions: { attempts: 3 } });
queue.on("error", (error) => console.error(error.message));
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

async function main() {
  say({ ready: true });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const job = Number(line);
    try {
      await queue.add("fault", { job });
      say({ job, error: null });
    } catch (error) {
      say({ job, error: `${error.name}: ${error.message}` });
    }
  }
  process.exit(0);
}
main();
