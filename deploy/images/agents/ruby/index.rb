# frozen_string_literal: true

# Starts the OpenTelemetry SDK in a process that knows nothing of it: RUBYOPT requires this file. The gems are put behind those of
# the application, whose own versions count. Whatever fails is said once, and the application goes on without.
begin
  libc = RbConfig::CONFIG['host_os'].include?('musl') ? 'musl' : 'glibc'
  bundle = File.join(ENV.fetch('ODIGOS_GEM_PATH'), libc)
  Dir.glob(File.join(bundle, 'ruby', '*', 'gems', '*', 'lib')).sort.each { |folder| $LOAD_PATH.push(folder) }
  Dir.glob(File.join(bundle, 'ruby', '*', 'extensions', '*', '*', '*')).sort.each { |folder| $LOAD_PATH.push(folder) }

  require 'opentelemetry/sdk'
  require 'opentelemetry/exporter/otlp'
  require 'opentelemetry/instrumentation/all'

  # Instrumentations patch libraries that are loaded: with Bundler once the application has required its own, else now.
  module OdigosStart
    def self.call
      return if @started

      @started = true
      OpenTelemetry::SDK.configure(&:use_all)
    rescue StandardError, LoadError => e
      warn("odigos: the Ruby agent does not start: #{e.message}")
    end

    # Prepended to Bundler.
    module AfterRequire
      def require(*groups)
        super.tap { OdigosStart.call }
      end
    end
  end

  if ENV['BUNDLE_GEMFILE'] || File.exist?('Gemfile')
    require 'bundler'
    Bundler.singleton_class.prepend(OdigosStart::AfterRequire)
  else
    OdigosStart.call
  end
rescue StandardError, LoadError => e
  warn("odigos: the Ruby agent does not start: #{e.message}")
end
