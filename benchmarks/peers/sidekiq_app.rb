# Sidekiq's jobs; measures as benchmarks/handlers.py does.
require "sidekiq"
require "json"

URL = ENV.fetch("REDIS_URL")
FOLDER = ENV.fetch("BENCH_FOLDER")
GATED = ENV["BENCH_GATED"] == "1"
GO = File.join(FOLDER, "go")
ENDED, FIRST, LAST, AT_GATE = 0, 1, 2, 3

Sidekiq.logger.level = Logger::WARN
Sidekiq.configure_server { |config| config.redis = { url: URL } }
Sidekiq.configure_client { |config| config.redis = { url: URL, size: 16 } }

def monotonic
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

# Each thread has its own cells; another one writes them all to this process's file.
module Meter
  LOCK = Mutex.new
  ALL = []

  def self.started
    Thread.current[:bench_cells] ||= enter
  end

  def self.ended(cells)
    cells[ENDED] += 1.0
    cells[LAST] = monotonic
  end

  def self.enter
    cells = [0.0, 0.0, 0.0, 1.0]
    LOCK.synchronize do
      ALL << cells
      @writer ||= Thread.new { write_often }
    end
    sleep 0.002 until !GATED || File.exist?(GO)
    cells[FIRST] = monotonic
    cells
  end

  def self.write_often
    file = File.open(File.join(FOLDER, "#{Process.pid}.meter"), "wb")
    loop do
      file.pwrite(LOCK.synchronize { ALL.flatten }.pack("d*"), 0)
      sleep 0.02
    end
  end
end

module Stamps
  def self.file
    @file ||= File.open(File.join(FOLDER, "stamps"), "r+b")
  end

  def self.stamp(n)
    now = Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
    file.pwrite([now].pack("q"), 8 * n)
  end
end

class Noop
  include Sidekiq::Worker
  def perform
    Meter.ended(Meter.started)
  end
end

class Sleep
  include Sidekiq::Worker
  def perform(seconds)
    cells = Meter.started
    sleep(seconds)
    Meter.ended(cells)
  end
end

class Stamp
  include Sidekiq::Worker
  def perform(n)
    Stamps.stamp(n)
  end
end

class Mixed
  include Sidekiq::Worker
  def perform(n)
    Stamps.stamp(n)
    sleep(2) if n % 100 == 70
  end
end
