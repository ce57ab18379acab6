// hapi.

import Hapi from '@hapi/hapi'
import { ROUTES, flat } from './endpoints.mjs'

const server = Hapi.server({ port: Number(process.argv[2]), host: '127.0.0.1', debug: false })

function serve(endpoint) {
  return (request) => ({
    id: request.headers['x-request-id'] ?? null,
    method: request.method.toUpperCase(),
    endpoint,
    site: request.params.site ?? null,
    reads: [
      ['query', 'request.query', flat(request.query.site)],
      ['header', 'request.headers', flat(request.headers['x-site'])],
      ['host', 'request.info', flat(request.info.hostname)],
      ['host', 'request.url', flat(request.url.host)],
    ],
  })
}

const routes = { ...ROUTES, '/api/sites/{site}/{rest*}': 'site', '/api/export/{rest*}': 'query', '/static/{rest*}': 'static', '/{rest*}': 'none' }
for (const [path, endpoint] of Object.entries(routes)) {
  server.route({ method: '*', path, handler: serve(endpoint), options: { payload: { parse: false } } })
  server.route({ method: 'GET', path, handler: serve(endpoint) })
}
await server.start()
