// Fastify.

import Fastify from 'fastify'
import { ROUTES, flat } from './endpoints.mjs'

const app = Fastify({ trustProxy: true, logger: false, exposeHeadRoutes: false })
app.addContentTypeParser('*', (request, payload, done) => {
  payload.resume()
  done(null)
})
app.removeContentTypeParser('application/json')

function serve(endpoint) {
  return (request, reply) => {
    const reads = [
      ['query', 'request.query', flat(request.query.site)],
      ['header', 'request.headers', flat(request.headers['x-site'])],
      ['host', 'request.hostname', flat(request.hostname)],
      ['host', 'request.host', flat(request.host)],
    ]
    const id = request.headers['x-request-id'] ?? null
    reply.send({ id, method: request.method, endpoint, site: request.params.site ?? null, reads })
  }
}

const method = ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE']
const routes = { ...ROUTES, '/api/sites/:site/*': 'site', '/api/export/*': 'query', '/static/*': 'static', '*': 'none' }
for (const [url, endpoint] of Object.entries(routes)) app.route({ method, url, handler: serve(endpoint) })

app.listen({ port: Number(process.argv[2]), host: '127.0.0.1' })
