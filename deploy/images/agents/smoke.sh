#!/bin/sh
# Tries an agent image of this folder as admission would use it: its files are copied as the init container copies them, and an
# interpreter starts with the variables of the catalogue. It shows that the agent loads; that spans arrive is not tried here.
#   deploy/images/agents/smoke.sh dotnet|php|ruby IMAGE
set -eu
language=$1
image=$2
volume=odigos-smoke-$$
docker volume create "$volume" > /dev/null
trap 'docker volume rm --force "$volume" > /dev/null' EXIT
docker run --rm --user 0 --mount "source=$volume,target=/var/odigos" "$image" \
  sh -c "cp -r /instrumentations/$language /var/odigos/$language"
run() {
  docker run --rm --mount "source=$volume,target=/var/odigos,readonly" "$@"
}
case $language in
  dotnet)
    for libc in glibc musl; do
      run busybox:1.37 test -s "/var/odigos/dotnet/linux-$libc/OpenTelemetry.AutoInstrumentation.Native.so"
    done
    run --env CORECLR_ENABLE_PROFILING=1 \
      --env 'CORECLR_PROFILER={918728DD-259F-4A6A-AC2B-B85E1B658318}' \
      --env CORECLR_PROFILER_PATH=/var/odigos/dotnet/linux-glibc/OpenTelemetry.AutoInstrumentation.Native.so \
      --env OTEL_DOTNET_AUTO_HOME=/var/odigos/dotnet \
      --env DOTNET_STARTUP_HOOKS=/var/odigos/dotnet/net/OpenTelemetry.AutoInstrumentation.StartupHook.dll \
      --env DOTNET_ADDITIONAL_DEPS=/var/odigos/dotnet/AdditionalDeps \
      --env DOTNET_SHARED_STORE=/var/odigos/dotnet/store \
      mcr.microsoft.com/dotnet/sdk:8.0 dotnet --info > /dev/null
    ;;
  php)
    for version in 8.1 8.2 8.3 8.4; do
      run --env "PHP_INI_SCAN_DIR=:/var/odigos/php/$version" --env OTEL_PHP_AUTOLOAD_ENABLED=true "php:$version-cli" \
        php -r 'exit(extension_loaded("opentelemetry") && class_exists("OpenTelemetry\SDK\SdkAutoloader") ? 0 : 1);'
    done
    ;;
  ruby)
    for version in 3.1 3.2 3.3 3.4; do
      for base in "ruby:$version" "ruby:$version-alpine"; do
        run --env "RUBYOPT=-r/var/odigos/ruby/$version/index.rb" --env "ODIGOS_GEM_PATH=/var/odigos/ruby/$version/bundle" \
          --env OTEL_TRACES_EXPORTER=none "$base" \
          ruby -e 'exit(OpenTelemetry.tracer_provider.is_a?(OpenTelemetry::SDK::Trace::TracerProvider))'
      done
    done
    ;;
  *)
    echo "no agent image for $language" >&2
    exit 2
    ;;
esac
echo "$image: the agent of $language loads"
