// What NODE_OPTIONS names: starts the OpenTelemetry agent before the application is loaded.
'use strict';
require('@opentelemetry/auto-instrumentations-node/register');
