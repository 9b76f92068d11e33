#!/bin/sh
# Builds the agent of one version of PHP, in its own image: the extension, the packages, and the file that PHP reads with
# PHP_INI_SCAN_DIR. Paths are those of a container that is instrumented.
set -eu
version=$1
folder=/instrumentations/php/$version
inside=/var/odigos/php/$version
if command -v apk > /dev/null; then
  # shellcheck disable=SC2086 # a list of packages
  apk add --no-cache $PHPIZE_DEPS git unzip
else
  apt-get update
  apt-get install --yes --no-install-recommends git unzip
fi
pecl install opentelemetry
mkdir -p "$folder"
cp "$(php-config --extension-dir)/opentelemetry.so" "$folder/"
cp /build/composer.json "$folder/"
composer install --working-dir="$folder" --no-dev --no-interaction --no-progress --optimize-autoloader \
  --ignore-platform-req=ext-opentelemetry
cat > "$folder/odigos.ini" << INI
extension=$inside/opentelemetry.so
auto_prepend_file=$inside/vendor/autoload.php
INI
chmod -R a+rX "$folder"
