# Stands in for the OpenTelemetry packages of Ruby, which come from a registry that not every machine with these tests can
# reach: it makes one span of each connection that the application accepts, and sends it where the environment says.
require 'json'
require 'net/http'
require 'securerandom'
require 'socket'

# What a user's image of agents has under this name.
module StandIn
  ENDPOINT = URI("#{ENV.fetch('OTEL_EXPORTER_OTLP_ENDPOINT')}/v1/traces")
  QUEUE = Queue.new

  def self.attributes
    pairs = ENV.fetch('OTEL_RESOURCE_ATTRIBUTES', '').split(',').map { |pair| pair.split('=', 2) }
    named = pairs.to_h.merge('service.name' => ENV['OTEL_SERVICE_NAME']).compact
    named.map { |key, value| { key: key, value: { stringValue: URI.decode_www_form_component(value) } } }
  end

  def self.span
    now = Process.clock_gettime(Process::CLOCK_REALTIME, :nanosecond).to_s
    { traceId: SecureRandom.hex(16), spanId: SecureRandom.hex(8), name: 'accept', kind: 2, startTimeUnixNano: now, endTimeUnixNano: now }
  end

  def self.send_one
    spans = [QUEUE.pop]
    body = { resourceSpans: [{ resource: { attributes: attributes }, scopeSpans: [{ scope: { name: 'stand-in' }, spans: spans }] }] }
    Net::HTTP.post(ENDPOINT, JSON.generate(body), 'Content-Type' => 'application/json')
  rescue StandardError => e
    warn("stand-in: #{e.message}")
  end

  # Beside the application's own code, which notices nothing.
  module Accepting
    def accept
      super.tap { QUEUE.push(StandIn.span) }
    end
  end

  TCPServer.prepend(Accepting)
  Thread.new { loop { send_one } }
end
