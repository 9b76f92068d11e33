# An ordinary service that knows nothing of telemetry: it answers.
require 'json'
require 'socket'

$stdout.sync = true
# The first process of a container has no default for signals.
Signal.trap('TERM') { exit!(0) }

def answer(path)
  case path
  when '/health' then {}
  # What the user has asked of the runtime, and got.
  when '/options' then { option: Warning[:experimental] ? 'lost' : 'kept' }
  else
    puts 'catalog served a request'
    { service: 'catalog', next: nil }
  end
end

def serve(client)
  path = client.gets.to_s.split[1]
  nil until ["\r\n", nil].include?(client.gets)
  body = JSON.generate(answer(path))
  client.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: #{body.bytesize}\r\nConnection: close\r\n\r\n#{body}")
rescue SystemCallError
  # Who asked is gone.
ensure
  client.close
end

server = TCPServer.new('0.0.0.0', Integer(ENV.fetch('PORT', '8080')))
loop do
  Thread.new(server.accept) { |client| serve(client) }
end
