# Enqueues on orders from the runner, as benchmarks/client.py does.
require_relative "sidekiq_app"

JOBS = { "noop" => Noop, "sleep" => Sleep, "stamp" => Stamp, "mixed" => Mixed }.freeze

def say(answer)
  $stdout.puts(JSON.generate(answer))
  $stdout.flush
end

def timed
  started = monotonic
  yield
  { seconds: monotonic - started }
end

def nanoseconds
  Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
end

def one(order)
  job, arguments = JOBS[order["job"]], order["arguments"]
  timed { order["count"].times { job.perform_async(*arguments) } }
end

def bulk(order)
  many = [order["arguments"]] * order["batch"]
  job = JOBS[order["job"]]
  timed do
    (order["count"] / order["batch"]).times do
      Sidekiq::Client.push_bulk("class" => job, "args" => many)
    end
  end
end

def many(order)
  callers = order["callers"]
  job, arguments = JOBS[order["job"]], order["arguments"]
  ready, go = Queue.new, Queue.new
  threads = Array.new(callers) do
    Thread.new do
      job.perform_async(*arguments)
      ready << true
      go.pop
      (order["count"] / callers).times { job.perform_async(*arguments) }
    end
  end
  callers.times { ready.pop }
  timed do
    callers.times { go << true }
    threads.each(&:value)
  end
end

def paced(order)
  before, after = [], []
  zero = monotonic
  order["plan"].each do |moment, name, first, count|
    left = zero + moment - monotonic
    sleep(left) if left.positive?
    called = nanoseconds
    if count > 1
      arguments = Array.new(count) { |i| [first + i] }
      Sidekiq::Client.push_bulk("class" => JOBS[name], "args" => arguments)
    else
      JOBS[name].perform_async(first)
    end
    returned = nanoseconds
    count.times do
      before << called
      after << returned
    end
  end
  { before: before, after: after }
end

Sidekiq.redis(&:ping)
say({ ready: true })
$stdin.each_line do |line|
  order = JSON.parse(line)
  begin
    say(send(order["do"], order))
  rescue StandardError => error
    say({ error: "#{error.class}: #{error.message}" })
  end
end
