// An ordinary service that knows nothing of telemetry: it answers, and asks the next one (NEXT).
const http = require('http');

if (process.env.CRASH_WITH_AGENT && (process.env.NODE_OPTIONS || '').includes('/var/odigos')) {
  console.error('inventory cannot work with an agent');
  process.exit(3);
}

function ask(url, done) {
  if (!url) return done('null');
  const request = http.get(url, { timeout: 5000 }, (response) => {
    let body = '';
    response.on('data', (part) => { body += part; });
    response.on('end', () => done(body));
  });
  request.on('timeout', () => request.destroy(new Error('timeout')));
  request.on('error', (error) => done(JSON.stringify({ error: error.message })));
}

const server = http.createServer((request, response) => {
  response.setHeader('Content-Type', 'application/json');
  if (request.url === '/health') return response.end('{}');
  // What the user has asked of the runtime, and got.
  if (request.url === '/options') return response.end(JSON.stringify({ option: process.title }));
  ask(process.env.NEXT, (next) => {
    console.log('inventory served a request');
    response.end(`{"service": "inventory", "next": ${next}}`);
  });
});
server.listen(Number(process.env.PORT || 8080), () => console.log('inventory listens'));
// The first process of a container has no default for signals.
process.on('SIGTERM', () => process.exit(0));
