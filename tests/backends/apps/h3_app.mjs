// h3, the server of Nitro and Nuxt.

import { H3, getQuery, getRequestHost, serve as listen } from 'h3'
import { ROUTES, flat } from './endpoints.mjs'

const app = new H3()

function serve(endpoint) {
  return (event) => {
    const reads = [
      ['query', 'getQuery', flat(getQuery(event).site)],
      ['query', 'searchParams', event.url.searchParams.getAll('site')],
      ['header', 'headers', flat(event.req.headers.get('x-site'))],
      ['host', 'getRequestHost', flat(getRequestHost(event, { xForwardedHost: true }))],
      ['host', 'event.url', flat(event.url.host)],
    ]
    const id = event.req.headers.get('x-request-id')
    return { id, method: event.req.method, endpoint, site: event.context.params?.site ?? null, reads }
  }
}

const routes = { ...ROUTES, '/api/sites/:site/**': 'site', '/api/export/**': 'query', '/static/**': 'static', '/**': 'none' }
for (const [path, endpoint] of Object.entries(routes)) app.all(path, serve(endpoint))
listen(app, { port: Number(process.argv[2]), hostname: '127.0.0.1', silent: true })
